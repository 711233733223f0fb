//! Lines of a call's record: printable, and bounded in number and length.

use crate::imports::printable;

/// Characters of a line.
const MAX_LINE: usize = 200;
const MAX_LINES: usize = 50;

/// The line of a record: without control characters, cut where it is too long.
pub(crate) fn record_line(text: &str) -> String {
    let short: String = text.chars().take(MAX_LINE + 1).collect();
    let mut line = printable(&short);
    if let Some((end, _)) = line.char_indices().nth(MAX_LINE) {
        line.truncate(end);
        line.pop();
        line.push('…');
    }
    line
}

/// What a plugin changed.
#[derive(Debug, Default)]
pub(crate) struct DiffLines {
    lines: Vec<String>,
    left_out: usize,
}

impl DiffLines {
    pub(crate) fn push(&mut self, line: &str) {
        if self.lines.len() < MAX_LINES - 1 {
            self.lines.push(record_line(line));
        } else {
            self.left_out += 1;
        }
    }
    pub(crate) fn finish(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.lines.push(format!("… and {} more", self.left_out));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_small_whatever_a_guest_says() {
        let mut lines = DiffLines::default();
        (0..1000).for_each(|_| lines.push(&"ü\n".repeat(5000)));
        let lines = lines.finish();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[MAX_LINES - 1], "… and 951 more");
        assert!(lines.iter().all(|line| line.chars().count() <= MAX_LINE && !line.contains('\n')));
        assert_eq!(record_line("+ A: 1"), "+ A: 1");
    }
}
