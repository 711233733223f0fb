//! Decides how a template becomes a file of a new project.
//!
//! `{{name}}`, `{{name_snake}}` and `{{NamePascal}}` are replaced. Lines between `{{#on-message setup}}` and
//! `{{/}}`, each on a line of its own, are kept when one of those hooks was asked for. A file of which nothing
//! is left is not written.

use crate::{
    contract::Hook,
    project::{pascal, snake},
};

/// A file of a new project.
#[derive(Clone, Copy, Debug)]
pub struct TemplateFile {
    /// Below the project; placeholders are replaced here, too.
    pub path: &'static str,
    pub text: &'static str,
}

/// Path and text, or nothing where the file is about hooks that were not asked for.
pub(crate) fn render(file: &TemplateFile, name: &str, hooks: &[Hook]) -> Option<(String, String)> {
    let mut kept = String::new();
    let mut keep = true;
    for line in file.text.split_inclusive('\n') {
        match line.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            Some("/") => keep = true,
            Some(mark) if mark.starts_with('#') => {
                keep = mark.trim_start_matches('#').split(' ').any(|name| hooks.iter().any(|hook| hook.name() == name));
            }
            _ if keep => kept.push_str(line),
            _ => {}
        }
    }
    if kept.trim().is_empty() && !file.text.is_empty() {
        return None;
    }
    Some((named(file.path, name), named(&kept, name)))
}

fn named(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{name_snake}}", &snake(name)).replace("{{NamePascal}}", &pascal(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &'static str, hooks: &[Hook]) -> Option<String> {
        render(&TemplateFile { path: "x", text }, "no-reply", hooks).map(|(_, text)| text)
    }

    #[test]
    fn names_are_put_in() {
        let text = "{{name}} {{name_snake}} {{NamePascal}} {{other}}\n";
        assert_eq!(rendered(text, &[]).unwrap(), "no-reply no_reply NoReply {{other}}\n");
    }

    #[test]
    fn only_the_parts_about_the_hooks_asked_for_are_kept() {
        let text = "a\n{{#on-route}}\nroute\n{{/}}\n  {{#setup on-message}}\nmail\n  {{/}}\nb\n";
        assert_eq!(rendered(text, &[Hook::OnMessage]).unwrap(), "a\nmail\nb\n");
        assert_eq!(rendered(text, &[Hook::OnRoute]).unwrap(), "a\nroute\nb\n");
        assert_eq!(rendered("{{#setup}}\nx\n{{/}}\n", &[Hook::OnRoute]), None);
        assert_eq!(rendered("", &[]).as_deref(), Some(""), "an empty file is meant to be empty");
    }
}
