//! What a person sees: each directory of `golden/` is a configuration and, in `errors.txt`, the
//! errors that it gets.

use super::*;

/// With `BLESS=1` in the environment, what is told now is written as what is expected.
#[test]
fn every_mistake_is_told_with_its_place_and_what_was_expected() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/golden");
    let mut cases: Vec<_> = fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 7, "{cases:?}");
    for case in cases {
        let errors = Config::load_on(&case.join("waypost.toml"), Some("vm")).expect_err("a mistake is found");
        let told = format!("{errors}\n").replace(&format!("{}/", case.display()), "");
        let file = case.join("errors.txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, &told).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap();
        assert!(told == expected, "{}:\n{told}", file.display());
    }
}

#[test]
fn an_error_stands_where_its_file_line_and_column_say() {
    let files = Files::domain("next-hop = 'a.example:25'\n\ttls = 'fast'");
    let errors = files.load().unwrap_err();
    let [error] = errors.list() else { panic!("{errors}") };
    assert_eq!((error.line, error.column), (2, 8));
    assert_eq!(error.file, files.path("domains/example.org.toml"));
    assert_eq!(error.message, "`tls` cannot be \"fast\"");
}

#[test]
fn a_missing_gateway_file_is_one_error() {
    let errors = Config::load(Path::new("nowhere/waypost.toml")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "nowhere/waypost.toml:1:1: there is no such file\n   = make it, or name another with --config FILE"
    );
}
