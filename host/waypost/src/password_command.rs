//! `waypost password`: turns a password into the lines of `[check-in]`. The password itself is printed nowhere; one
//! that is made here, for CRAM-MD5, is.

use crate::{cli::PasswordArgs, trace_command::say};
use gateway::{check_in::password, odmr};
use std::io::{self, BufRead, IsTerminal};

/// In bytes; what is longer is refused at a login too.
const LONGEST: u64 = 1024;
const SHORTEST: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("the password cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the two are not the same")]
    Differs,
    #[error("it has fewer than {SHORTEST} bytes: whoever may try for a while finds it")]
    Short,
    #[error("it has more than {LONGEST} bytes")]
    Long,
    #[error(transparent)]
    Hash(#[from] password::HashError),
}

pub fn run(args: &PasswordArgs) -> Result<(), PasswordError> {
    let password = if io::stdin().is_terminal() { ask()? } else { read(io::stdin().lock())? };
    match password.len() {
        short if short < SHORTEST => return Err(PasswordError::Short),
        long if long as u64 > LONGEST => return Err(PasswordError::Long),
        _ => {}
    }
    say("[check-in]");
    for (key, value) in lines(args, &password)? {
        // Neither holds what TOML would read otherwise: a user is checked when the file is read.
        say(&format!("{key} = {value:?}"));
    }
    Ok(())
}

/// What a login is compared with, one for each way to log in.
fn lines(args: &PasswordArgs, password: &str) -> Result<Vec<(&'static str, String)>, PasswordError> {
    let mut lines = vec![("user", args.user.clone()), ("password-hash", password::hash(password)?)];
    lines.extend(args.scram.then(|| ("scram-sha-256", odmr::scram_verifier(password).to_string())));
    lines.extend(args.cram_md5.then(|| ("cram-md5-secret", odmr::cram_md5_secret())));
    Ok(lines)
}

/// Without an echo, and twice: nobody sees what they type.
fn ask() -> Result<String, PasswordError> {
    let first = rpassword::prompt_password("Password: ")?;
    let second = rpassword::prompt_password("The same again: ")?;
    if first == second { Ok(first) } else { Err(PasswordError::Differs) }
}

/// The first line.
fn read(input: impl BufRead) -> Result<String, PasswordError> {
    let mut line = String::new();
    input.take(LONGEST + 2).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_with_its_blanks() {
        assert_eq!(read(&b" correct horse \r\nmore\n"[..]).unwrap(), " correct horse ");
        assert_eq!(read(&b"no line end"[..]).unwrap(), "no line end");
        assert_eq!(read(&b""[..]).unwrap(), "");
    }

    #[test]
    fn each_way_to_log_in_has_a_line_of_its_own_and_the_password_is_in_none() {
        let keys = |scram, cram_md5| {
            let lines = lines(&PasswordArgs { user: "ann".into(), scram, cram_md5 }, "correct horse").unwrap();
            assert!(lines.iter().all(|(_, value)| !value.contains("correct horse")));
            lines.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(false, false), ["user", "password-hash"]);
        assert_eq!(keys(true, false), ["user", "password-hash", "scram-sha-256"]);
        assert_eq!(keys(true, true), ["user", "password-hash", "scram-sha-256", "cram-md5-secret"]);
        let args = PasswordArgs { user: "ann".into(), scram: true, cram_md5: true };
        let made = || lines(&args, "correct horse").unwrap().into_iter().map(|(_, value)| value).skip(1);
        assert!(made().zip(made()).all(|(one, other)| one != other), "salts and secrets are made anew");
    }
}
