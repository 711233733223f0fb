//! One AUTH exchange (RFC 4954 §4) as a value: what was asked, what comes next, how it ends.
//!
//! Knows the messages of the mechanisms; whether a password is right is asked of [`Accounts`].

use super::{
    accounts::{Accounts, Busy, Login},
    cram_md5, random_text,
    scram::{Challenged, ClientFirst, ScramVerifier},
};
use smtp::Mechanism;

/// What the next response is.
#[derive(Debug)]
pub enum Exchange {
    Plain,
    CramMd5 {
        challenge: String,
    },
    ScramFirst,
    ScramFinal {
        challenged: Challenged,
        verifier: ScramVerifier,
    },
    /// The client has heard that we know the password too; it says nothing more.
    ScramHeard {
        login: Login,
    },
}

pub enum Step {
    Challenge(Box<Exchange>, Vec<u8>),
    Granted(Login),
    /// With who it was meant to be, where that could be read.
    Refused(Option<String>),
    /// No message of this mechanism.
    Malformed,
    /// Not looked at: too many others are.
    Busy,
}

impl Exchange {
    /// Before the first response; with it, where the client began.
    pub async fn begin(mechanism: Mechanism, initial: Option<Vec<u8>>, accounts: &Accounts, hostname: &str) -> Step {
        let exchange = match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::ScramSha256 => Self::ScramFirst,
            Mechanism::CramMd5 => {
                let challenge = cram_md5::challenge(&random_text(), hostname);
                let message = challenge.clone().into_bytes();
                return Step::Challenge(Box::new(Self::CramMd5 { challenge }), message);
            }
        };
        match initial {
            Some(response) => exchange.respond(&response, accounts).await,
            None => Step::Challenge(Box::new(exchange), Vec::new()),
        }
    }

    pub async fn respond(self, response: &[u8], accounts: &Accounts) -> Step {
        match self {
            Self::Plain => match plain(response) {
                Some((user, password)) => match accounts.plain(user, password.to_owned()).await {
                    Ok(login) => granted(login, user),
                    Err(Busy) => Step::Busy,
                },
                None => Step::Malformed,
            },
            Self::CramMd5 { challenge } => match cram_md5::response(response) {
                Some((user, digest)) => granted(accounts.cram_md5(user, &challenge, &digest), user),
                None => Step::Malformed,
            },
            Self::ScramFirst => match ClientFirst::parse(response) {
                Some(first) => {
                    let verifier = accounts.scram_verifier(&first.user);
                    let (challenged, message) = first.challenge(&verifier, &random_text());
                    Step::Challenge(Box::new(Self::ScramFinal { challenged, verifier }), message.into_bytes())
                }
                None => Step::Malformed,
            },
            Self::ScramFinal { challenged, verifier } => {
                let Some(proof) = challenged.proof(response) else { return Step::Malformed };
                match accounts.scram(challenged.user(), &verifier, &proof) {
                    Some((login, message)) => {
                        Step::Challenge(Box::new(Self::ScramHeard { login }), message.into_bytes())
                    }
                    None => Step::Refused(Some(challenged.user().to_owned())),
                }
            }
            Self::ScramHeard { login } if response.is_empty() => Step::Granted(login),
            Self::ScramHeard { .. } => Step::Malformed,
        }
    }
}

fn granted(login: Option<Login>, user: &str) -> Step {
    login.map_or_else(|| Step::Refused(Some(user.to_owned())), Step::Granted)
}

/// RFC 4616 §2. Nobody acts for somebody else.
fn plain(message: &[u8]) -> Option<(&str, &str)> {
    let mut parts = str::from_utf8(message).ok()?.split('\0');
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !user.is_empty() && !password.is_empty();
    (whole && (authzid.is_empty() || authzid == user)).then_some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_message_names_one_user_and_a_password() {
        assert_eq!(plain(b"\0ann\0secret"), Some(("ann", "secret")));
        assert_eq!(plain(b"ann\0ann\0secret"), Some(("ann", "secret")));
        for wrong in
            [&b"root\0ann\0secret"[..], b"\0ann\0", b"\0\0secret", b"\0ann\0a\0b", b"ann secret", b"", b"\0ann\0\xff"]
        {
            assert_eq!(plain(wrong), None);
        }
    }
}
