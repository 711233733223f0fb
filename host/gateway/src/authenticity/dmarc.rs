//! Decides DMARC (RFC 9989): does what SPF or DKIM have shown belong to the domain of the From field?
//!
//! mail-auth walks the tree; the author comes from our own reading of the field, the same that plugins see.

use super::signatures::Signed;
use mail::{AuthResult, Domain};
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcResult, Error, MessageAuthenticator, SpfOutput, SpfResult, dkim::Signature,
    dmarc::verify::DmarcParameters,
};

/// As long as DNS takes: the caller bounds it.
pub async fn check(
    verifier: &MessageAuthenticator,
    author: &Domain,
    spf: (&str, AuthResult),
    dkim: &[Signed],
) -> AuthResult {
    let message = AuthenticatedMessage { from: vec![format!("author@{author}")], ..AuthenticatedMessage::default() };
    let signatures: Vec<(Signature, AuthResult)> = dkim
        .iter()
        .map(|signed| (Signature { d: signed.domain.to_string(), ..Signature::default() }, signed.result))
        .collect();
    let outputs: Vec<DkimOutput<'_>> =
        signatures.iter().map(|(signature, result)| output(*result).with_signature(signature)).collect();
    let (domain, result) = spf;
    let spf_output = SpfOutput::new(domain.to_owned()).with_result(spf_result(result));
    let parameters = DmarcParameters {
        message: &message,
        dkim_output: &outputs,
        dkim2_output: None,
        rfc5321_mail_from_domain: domain,
        spf_output: &spf_output,
    };
    match verifier.verify_dmarc(parameters).await.result() {
        DmarcResult::Pass => AuthResult::Pass,
        DmarcResult::Fail(_) => AuthResult::Fail,
        DmarcResult::TempError(_) => AuthResult::TempError,
        DmarcResult::PermError(_) => AuthResult::PermError,
        DmarcResult::None => AuthResult::None,
    }
}

/// DMARC tells a pass, a temporary error and everything else apart.
fn output<'a>(result: AuthResult) -> DkimOutput<'a> {
    match result {
        AuthResult::Pass => DkimOutput::pass(),
        AuthResult::TempError => DkimOutput::temp_err(Error::NotAligned),
        _ => DkimOutput::fail(Error::NotAligned),
    }
}

fn spf_result(result: AuthResult) -> SpfResult {
    match result {
        AuthResult::None | AuthResult::Policy => SpfResult::None,
        AuthResult::Pass => SpfResult::Pass,
        AuthResult::Fail => SpfResult::Fail,
        AuthResult::SoftFail => SpfResult::SoftFail,
        AuthResult::Neutral => SpfResult::Neutral,
        AuthResult::TempError => SpfResult::TempError,
        AuthResult::PermError => SpfResult::PermError,
    }
}
