//! What is wrong with a file, where, and what to do about it.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub file: PathBuf,
    /// From 1; in characters. Both are 1 when the file as a whole is meant.
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// What was expected, with an example or the nearest valid name.
    pub hint: Option<String>,
    /// The line it stands in and how many characters of it are meant.
    pub(crate) excerpt: Option<(String, usize)>,
}

/// Where something stands, for what turns out to be wrong with it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
    excerpt: Option<(String, usize)>,
}

/// Every mistake of every file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistake {
    /// About a file that cannot be read, or what it lacks.
    pub fn of_file(file: &Path, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Place::of_file(file).error(message.into(), Some(hint.into()))
    }

    /// About the bytes `span` of `text`.
    pub(crate) fn at(file: &Path, text: &str, span: Range<usize>, message: String, hint: Option<String>) -> Self {
        Place::new(file, text, span).error(message, hint)
    }
}

impl Place {
    /// The bytes `span` of `text`.
    pub(crate) fn new(file: &Path, text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let meant = text.get(span).unwrap_or_default().lines().next().unwrap_or_default().chars().count();
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            excerpt: Some((line.to_owned(), meant.max(1))),
        }
    }

    /// A file as a whole.
    pub fn of_file(file: &Path) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, excerpt: None }
    }

    pub fn error(&self, message: String, hint: Option<String>) -> Mistake {
        let Self { file, line, column, excerpt } = self.clone();
        Mistake { file, line, column, message, hint, excerpt }
    }
}

impl Mistakes {
    /// Sorted, those of `first` before those of other files; each once.
    pub fn new(first: &Path, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| {
            let key = |m: &Mistake| (m.file != first, m.file.clone(), m.line, m.column);
            key(a).cmp(&key(b))
        });
        mistakes.dedup();
        Self(mistakes)
    }

    /// Never empty.
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
    pub fn into_list(self) -> Vec<Mistake> {
        self.0
    }
}

impl std::error::Error for Mistake {}
impl std::error::Error for Mistakes {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        if let Some((line, meant)) = &self.excerpt {
            // Tabs are repeated so that the caret stands below what it means.
            let indent: String =
                line.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n {gutter} |\n {number} | {line}\n {gutter} | {indent}{}", "^".repeat(*meant))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n {gutter} = {hint}")?;
        }
        Ok(())
    }
}

/// One block for each mistake, an empty line between them, no line end behind the last.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{mistake}")?;
        }
        Ok(())
    }
}
