//! Writes the Authentication-Results field (RFC 8601). Pure: the one place where what strangers say gets into it.

use super::{
    author::NoAuthor,
    signatures::Signatures,
    spf::{Checked, Identity},
};
use mail::{AuthResult, Domain};
use std::{fmt::Write, net::IpAddr};

/// What has been found out, with the names that it was found out of.
#[derive(Clone, Debug)]
pub struct Findings {
    pub spf: Checked,
    pub signatures: Signatures,
    pub author: Result<Domain, NoAuthor>,
    pub dmarc: AuthResult,
    /// The client's confirmed name, and its address.
    pub client: Option<(String, IpAddr)>,
}

/// Lines of printable ASCII, whatever was found; the final CRLF included.
pub fn write(hostname: &str, findings: &Findings) -> String {
    let mut text = format!("Authentication-Results: {}", clean(hostname));
    let mut add = |part: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = write!(text, ";\r\n {part}");
    };
    let Findings { spf, signatures, author, dmarc, client } = findings;
    match &spf.identity {
        Some(Identity::MailFrom(domain)) => {
            add(format_args!("spf={} smtp.mailfrom={}", spf.result, clean(domain.as_str())))
        }
        Some(Identity::Helo(domain)) => add(format_args!("spf={} smtp.helo={}", spf.result, clean(domain.as_str()))),
        None => add(format_args!("spf={}", spf.result)),
    }
    if signatures.dkim.is_empty() {
        add(format_args!("dkim=none"));
    }
    for signed in &signatures.dkim {
        let (domain, selector) = (clean(signed.domain.as_str()), clean(&signed.selector));
        add(format_args!("dkim={} header.d={domain} header.s={selector}", signed.result));
    }
    match author {
        Ok(domain) => add(format_args!("dmarc={dmarc} header.from={}", clean(domain.as_str()))),
        Err(reason) => add(format_args!("dmarc={dmarc} reason=\"{reason}\"")),
    }
    if signatures.arc != AuthResult::None {
        add(format_args!("arc={}", signatures.arc));
    }
    match client {
        Some((name, IpAddr::V4(ip))) => add(format_args!("iprev=pass ({}) policy.iprev={ip}", clean(name))),
        // A colon needs quotes.
        Some((name, IpAddr::V6(ip))) => add(format_args!("iprev=pass ({}) policy.iprev=\"{ip}\"", clean(name))),
        None => {}
    }
    text.push_str("\r\n");
    text
}

/// What names are made of; everything else becomes a question mark.
fn clean(text: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    text.chars().take(255).map(|c| if ok(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::signatures::Signed, *};

    fn findings() -> Findings {
        let signed = |domain: &str, selector: &str, result| Signed {
            domain: domain.parse().unwrap(),
            selector: selector.to_owned(),
            result,
        };
        let dkim = vec![
            signed("example.org", "s1", AuthResult::Pass),
            signed("list.example", "x;\r\nBcc: y\"", AuthResult::Fail),
        ];
        Findings {
            spf: Checked {
                result: AuthResult::SoftFail,
                identity: Some(Identity::MailFrom("example.org".parse().unwrap())),
            },
            signatures: Signatures { dkim, arc: AuthResult::Pass },
            author: Ok("example.org".parse().unwrap()),
            dmarc: AuthResult::Pass,
            client: Some(("mail.example.org".to_owned(), "192.0.2.7".parse().unwrap())),
        }
    }

    #[test]
    fn every_result_is_told_with_its_name_and_nothing_breaks_out_of_it() {
        assert_eq!(
            write("gw.test", &findings()),
            "Authentication-Results: gw.test;\r\n spf=softfail smtp.mailfrom=example.org;\r\n \
             dkim=pass header.d=example.org header.s=s1;\r\n dkim=fail header.d=list.example header.s=x???Bcc??y?;\r\n \
             dmarc=pass header.from=example.org;\r\n arc=pass;\r\n iprev=pass (mail.example.org) policy.iprev=192.0.2.7\r\n"
        );
    }

    #[test]
    fn an_address_with_colons_stands_in_quotes() {
        let client = Some(("mail.example.org".to_owned(), "2001:db8::7".parse().unwrap()));
        let text = write("gw.test", &Findings { client, ..findings() });
        assert!(text.ends_with("iprev=pass (mail.example.org) policy.iprev=\"2001:db8::7\"\r\n"), "{text}");
    }

    #[test]
    fn a_mail_without_an_author_says_why() {
        let findings = Findings {
            spf: Checked::default(),
            signatures: Signatures::default(),
            author: Err(NoAuthor::Several),
            dmarc: AuthResult::PermError,
            client: None,
        };
        assert_eq!(
            write("gw.test", &findings),
            "Authentication-Results: gw.test;\r\n spf=none;\r\n dkim=none;\r\n dmarc=permerror reason=\"several From fields\"\r\n"
        );
    }
}
