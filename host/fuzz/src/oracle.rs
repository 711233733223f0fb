//! Readings of SMTP so simple that they are easily seen to be right, to hold the real ones against.
//!
//! Slow, whole-buffer, and without a line of the code that they judge.

use crate::driver::Said;
use smtp::BareLineEnds;

/// Where DATA's content ends, the final dot included: behind the first CRLF.CRLF, the CRLF before the data counted.
pub(crate) fn end_of_data(data: &[u8]) -> Option<usize> {
    if data.starts_with(b".\r\n") {
        return Some(3);
    }
    memchr::memmem::find(data, b"\r\n.\r\n").map(|at| at + 5)
}

/// The content of `data`, which ends with its final dot (RFC 5321 §4.5.2).
pub(crate) fn unstuffed(data: &[u8]) -> Vec<u8> {
    let lines = data.strip_suffix(b".\r\n").unwrap_or(data);
    let mut out = Vec::with_capacity(lines.len());
    let mut at_line_start = true;
    for (at, byte) in lines.iter().enumerate() {
        if !(at_line_start && *byte == b'.') {
            out.push(*byte);
        }
        at_line_start = lines.get(..=at).is_some_and(|before| before.ends_with(b"\r\n"));
    }
    out
}

/// The first byte that no line of text may hold: NUL, or a CR or LF alone.
pub(crate) fn first_fault(text: &[u8]) -> Option<usize> {
    (0..text.len()).find(|at| match text[*at] {
        0 => true,
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        b'\n' => *at == 0 || text[at - 1] != b'\r',
        _ => false,
    })
}

/// Content as it is relayed: where bare line ends are made good, LF is CRLF and CR a space.
pub(crate) fn canonical(content: &[u8], bare: BareLineEnds) -> Vec<u8> {
    if bare == BareLineEnds::Refuse {
        return content.to_vec();
    }
    let mut out = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || content[at - 1] != b'\r' => out.extend_from_slice(b"\r\n"),
            b'\r' if content.get(at + 1) != Some(&b'\n') => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    out
}

/// The last line of chunks may lack its end.
pub(crate) fn end_last_line(content: &mut Vec<u8>, bare: BareLineEnds) {
    let is_ended = content.ends_with(b"\r\n") || (bare == BareLineEnds::Normalise && content.ends_with(b"\n"));
    if content.ends_with(b"\r") && bare == BareLineEnds::Normalise {
        content.pop();
        content.push(b' ');
    }
    if !content.is_empty() && !is_ended {
        content.extend_from_slice(b"\r\n");
    }
}

/// What a client that counts bytes as RFC 5321 and RFC 3030 tell takes a session to be: the contents for which it has
/// a 250. Panics where there are more or fewer replies than it waits for.
///
/// `bare` is what becomes of a bare CR or LF.
pub(crate) fn accepted(sent: &[u8], said: &[Said], bare: BareLineEnds) -> Vec<Vec<u8>> {
    let mut session = Session { sent, said, bare, over: false, accepted: Vec::new(), chunks: Vec::new() };
    session.reply();
    while session.step() {}
    // The last straw has a reply of its own, and then the session's end.
    let is_asked_for = match session.said {
        [] => true,
        [Said { code: 421, .. }] => !session.over,
        _ => false,
    };
    assert!(is_asked_for, "said unasked: {:?}", session.said);
    session.accepted
}

struct Session<'a> {
    sent: &'a [u8],
    said: &'a [Said],
    bare: BareLineEnds,
    over: bool,
    accepted: Vec<Vec<u8>>,
    /// Of the open mail.
    chunks: Vec<u8>,
}

impl<'a> Session<'a> {
    /// One command and what belongs to it; false at the end.
    fn step(&mut self) -> bool {
        let Some(end) = memchr::memmem::find(self.sent, b"\r\n") else { return false };
        let line = self.take(end + 2);
        let words = std::str::from_utf8(line).unwrap_or_default().trim_ascii_end().to_ascii_uppercase();
        // A longer line is no command.
        let words = if line.len() > 2048 { "" } else { &words };
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["DATA"] => self.data(),
            ["BDAT", size] => self.chunk(size, false),
            ["BDAT", size, "LAST"] => self.chunk(size, true),
            [verb, ..] => {
                let is_over = matches!(verb, "RSET" | "EHLO" | "HELO" | "MAIL");
                let Some(code) = self.reply() else { return false };
                if is_over && code == 250 {
                    self.chunks.clear();
                }
                true
            }
            [] => self.reply().is_some(),
        }
    }

    fn data(&mut self) -> bool {
        self.chunks.clear();
        match self.reply() {
            Some(354) => {}
            other => return other.is_some(),
        }
        let Some(end) = end_of_data(self.sent) else { return false };
        let content = unstuffed(self.take(end));
        self.at_the_end(content)
    }

    fn chunk(&mut self, size: &str, last: bool) -> bool {
        let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
        let Some(size) = size.parse::<u64>().ok().filter(|_| digits) else { return self.reply().is_some() };
        // A size that nobody would wait for is refused, and the session is over.
        if self.said.first().is_some_and(|said| said.code == 501) {
            return self.reply().is_some();
        }
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= self.sent.len()) else { return false };
        let chunk = self.take(size);
        self.chunks.extend_from_slice(chunk);
        if last {
            let mut content = std::mem::take(&mut self.chunks);
            end_last_line(&mut content, self.bare);
            return self.at_the_end(content);
        }
        match self.reply() {
            Some(250) => true,
            other => {
                self.chunks.clear();
                other.is_some()
            }
        }
    }

    fn at_the_end(&mut self, content: Vec<u8>) -> bool {
        let code = self.reply();
        if code == Some(250) {
            let content = canonical(&content, self.bare);
            assert_eq!(first_fault(&content), None, "what is not lines was taken");
            self.accepted.push(content);
        }
        code.is_some()
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.sent.split_at(len);
        self.sent = rest;
        taken
    }

    /// The code of the next reply; none when the session is over.
    fn reply(&mut self) -> Option<u16> {
        if self.over {
            return None;
        }
        let (first, rest) = self.said.split_first().expect("a command was not answered");
        self.said = rest;
        self.over = matches!(first.code, 221 | 421);
        (!self.over).then_some(first.code)
    }
}
