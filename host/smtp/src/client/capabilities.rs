//! What the next hop offered in its reply to EHLO or LHLO.
//!
//! Keywords that nothing here uses are skipped; a malformed one is as good as absent.

/// Empty after HELO, and until the reply to EHLO is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870, in octets; 0 is an offer without a fixed limit.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 3030; not used, DATA is as good for text.
    pub chunking: bool,
    /// RFC 9422: recipients in one transaction.
    pub rcpt_max: Option<u64>,
    /// RFC 9422: transactions in one session.
    pub mail_max: Option<u64>,
}

impl Capabilities {
    /// From the text of the reply, whose first line is a greeting.
    pub(super) fn parse(text: &str) -> Self {
        let mut offered = Self::default();
        for line in text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "SIZE" => offered.size = words.next().map_or(Some(0), |limit| limit.parse().ok()),
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "DSN" => offered.dsn = true,
                "STARTTLS" => offered.starttls = true,
                "REQUIRETLS" => offered.require_tls = true,
                "CHUNKING" => offered.chunking = true,
                "LIMITS" => words.for_each(|limit| offered.limit(limit)),
                _ => {}
            }
        }
        offered
    }

    fn limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else { return };
        let value = value.parse().ok().filter(|value| *value > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.rcpt_max = value,
            "MAILMAX" => self.mail_max = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_and_the_rest_is_skipped() {
        let text =
            "DSN greets you\npipelining\nSIZE 1000\nX-NEW\nLIMITS MAILMAX=20 RCPTMAX=0 RCPTDOMAINMAX=1\nSTARTTLS";
        let expected = Capabilities {
            pipelining: true,
            size: Some(1000),
            starttls: true,
            mail_max: Some(20),
            ..Default::default()
        };
        assert_eq!(Capabilities::parse(text), expected);
        assert_eq!(Capabilities::parse("x\nSIZE").size, Some(0));
        assert_eq!(Capabilities::parse("x\nSIZE many").size, None);
    }
}
