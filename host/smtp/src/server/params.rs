//! The parameters of MAIL and RCPT (RFC 5321 §4.1.1.11) of the extensions that EHLO offers.
//!
//! Decides their syntax and nothing else: whether a size or a count is welcome is asked elsewhere.

use crate::xtext::is_xtext;
use mail::{BodyKind, Notify, Reply, Ret};

/// Upper-case names, values as given.
pub type RawParams = Vec<(String, Option<String>)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=`, in octets (RFC 1870).
    pub size: Option<u64>,
    pub body: BodyKind,
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689).
    pub require_tls: bool,
    pub ret: Option<Ret>,
    /// Still in xtext, checked.
    pub envid: Option<String>,
    /// All of them as given.
    pub raw: RawParams,
}

#[derive(Debug, Default)]
pub(super) struct RcptParams {
    pub(super) notify: Option<Notify>,
    pub(super) orcpt: Option<String>,
    pub(super) raw: RawParams,
}

/// RFC 3461 §4.4 and §4.2.
const MAX_ENVID: usize = 100;
const MAX_ORCPT: usize = 500;

/// Splits `NAME=value NAME`; each name at most once.
fn split(bytes: &[u8]) -> Result<RawParams, Reply> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).ok_or(BAD_PARAMETER)?;
    let mut params = RawParams::new();
    for param in text.split(' ').filter(|param| !param.is_empty()) {
        let (name, value) = match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        };
        // RFC 5321 §4.1.2: esmtp-keyword, and esmtp-value of printable characters but "=".
        let name_ok = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_ok = value.is_none_or(|v| !v.is_empty() && v.bytes().all(|b| matches!(b, 33..=126) && b != b'='));
        let name = name.to_ascii_uppercase();
        if !name_ok || !value_ok || params.iter().any(|(known, _)| *known == name) {
            return Err(BAD_PARAMETER);
        }
        params.push((name, value.map(str::to_owned)));
    }
    Ok(params)
}

pub(super) fn mail_params(bytes: &[u8]) -> Result<MailParams, Reply> {
    let mut params = MailParams { raw: split(bytes)?, ..MailParams::default() };
    for (name, value) in &params.raw {
        match (name.as_str(), value.as_deref()) {
            ("SIZE", Some(value)) => params.size = Some(size(value)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => params.body = BodyKind::SevenBit,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => params.body = BodyKind::EightBitMime,
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("REQUIRETLS", None) => params.require_tls = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => params.ret = Some(Ret::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => params.ret = Some(Ret::Headers),
            ("ENVID", Some(value)) if value.len() <= MAX_ENVID && is_xtext(value) => {
                params.envid = Some(value.to_owned());
            }
            ("SIZE" | "BODY" | "SMTPUTF8" | "REQUIRETLS" | "RET" | "ENVID", _) => return Err(BAD_PARAMETER),
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(params)
}

pub(super) fn rcpt_params(bytes: &[u8]) -> Result<RcptParams, Reply> {
    let mut params = RcptParams { raw: split(bytes)?, ..RcptParams::default() };
    for (name, value) in &params.raw {
        match (name.as_str(), value.as_deref()) {
            ("NOTIFY", Some(value)) => params.notify = Some(notify(value).ok_or(BAD_PARAMETER)?),
            ("ORCPT", Some(value)) if value.len() <= MAX_ORCPT && is_original_recipient(value) => {
                params.orcpt = Some(value.to_owned());
            }
            ("NOTIFY" | "ORCPT", _) => return Err(BAD_PARAMETER),
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(params)
}

/// RFC 1870 §6: up to 20 digits; more than 64 bits hold is too large for anyone.
fn size(value: &str) -> Result<u64, Reply> {
    if value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BAD_PARAMETER);
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify::NEVER;
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    Some(notify)
}

fn is_original_recipient(value: &str) -> bool {
    value.split_once(';').is_some_and(|(kind, address)| {
        let kind_ok = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !kind.is_empty() && kind_ok && !address.is_empty() && is_xtext(address)
    })
}

const BAD_PARAMETER: Reply = Reply::fixed(501, (5, 5, 4), "Bad parameter");
const UNKNOWN_PARAMETER: Reply = Reply::fixed(555, (5, 5, 4), "Unknown parameter");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_well_formed_and_given_once() {
        let params = mail_params(b" size=12  BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb").unwrap();
        assert_eq!((params.size, params.body, params.smtputf8), (Some(12), BodyKind::EightBitMime, true));
        assert_eq!((params.ret, params.envid.as_deref()), (Some(Ret::Headers), Some("a+2Bb")));
        assert_eq!(params.raw.first(), Some(&("SIZE".to_owned(), Some("12".to_owned()))));
        assert_eq!(mail_params(b" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        let long = format!(" ENVID={}", "a".repeat(101));
        for (given, code) in [
            (" SIZE=1 size=1", 501),
            (" SIZE", 501),
            (" SIZE=", 501),
            (" SIZE=-1", 501),
            (" SIZE=123456789012345678901", 501),
            (" BODY=BINARYMIME", 501),
            (" SMTPUTF8=1", 501),
            (" REQUIRETLS=1", 501),
            (" =1", 501),
            (" X", 555),
            (" NOTIFY=NEVER", 555),
            (&long, 501),
        ] {
            assert_eq!(mail_params(given.as_bytes()).unwrap_err().code, code, "{given}");
        }
    }

    #[test]
    fn notify_is_never_or_a_set() {
        let failure_delay = Notify { success: false, failure: true, delay: true };
        assert_eq!(rcpt_params(b" NOTIFY=delay,FAILURE").unwrap().notify, Some(failure_delay));
        assert_eq!(rcpt_params(b" NOTIFY=NEVER").unwrap().notify, Some(Notify::NEVER));
        assert_eq!(rcpt_params(b" ORCPT=rfc822;a+2Bb@c").unwrap().orcpt.as_deref(), Some("rfc822;a+2Bb@c"));
        let long = format!(" ORCPT=rfc822;{}", "a".repeat(500));
        for given in
            [" NOTIFY=NEVER,DELAY", " NOTIFY=DELAY,DELAY", " NOTIFY=", " ORCPT=a@b", " ORCPT=;a", " ORCPT=x;", &long]
        {
            assert_eq!(rcpt_params(given.as_bytes()).unwrap_err().code, 501, "{given}");
        }
    }
}
