//! What the client waits for: for the driver, whose clock it is, to choose a time-out.

use std::fmt;

/// Whose turn it is: the next hop's, but for `Handshake` and `NextMail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    Greeting,
    Ehlo,
    StartTls,
    Handshake,
    NextMail,
    /// The reply to a single command.
    Answer,
    Rset,
    Mail,
    Rcpt,
    Data,
    /// The next hop reads what is written to it.
    DataTaken,
    /// The reply to the final dot. Until it is here the mail may have been taken or not.
    EndOfData,
    Quit,
    Closed,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Ehlo => "the reply to EHLO",
            Self::StartTls => "the reply to STARTTLS",
            Self::Handshake => "the TLS handshake",
            Self::NextMail => "a mail to send",
            Self::Answer => "the reply to a command",
            Self::Rset => "the reply to RSET",
            Self::Mail => "the reply to MAIL",
            Self::Rcpt => "the reply to RCPT",
            Self::Data => "the reply to DATA",
            Self::DataTaken => "the data to be taken",
            Self::EndOfData => "the reply to the end of the data",
            Self::Quit => "the reply to QUIT",
            Self::Closed => "nothing",
        })
    }
}
