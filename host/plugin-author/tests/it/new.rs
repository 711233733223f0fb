//! New projects are whole, and only go where nothing is.

use plugin_author::{Hook, Language, NewError, NewProject, Project, create};
use std::fs;

#[test]
fn a_new_project_has_a_world_with_the_hooks_asked_for_in_every_language() {
    for language in Language::ALL {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tagger");
        for hooks in [&[][..], &Hook::ALL[..], &[Hook::OnEvent], &[Hook::Setup, Hook::OnRecipient]] {
            let _ = fs::remove_dir_all(&dir);
            let project = create(&NewProject { dir: &dir, name: "tagger", language, hooks }).unwrap();
            let expected = if hooks.is_empty() { &[Hook::OnMessage] } else { hooks };
            assert_eq!(project.hooks().unwrap(), expected, "{language}");
        }
    }
}

#[test]
fn a_project_that_is_there_is_not_written_over() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("precious"), "mine").unwrap();
    let new = NewProject { dir: home.path(), name: "tagger", language: Language::C, hooks: &[] };
    assert!(matches!(create(&new), Err(NewError::NotEmpty(_))));
    assert!(Project::open(home.path()).unwrap_err().to_string().contains("waypost plugin new"));
}
