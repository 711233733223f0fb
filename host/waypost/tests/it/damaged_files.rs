//! Each file of the data directory but the queue's, which has tests of its own, is emptied or filled with something else:
//! the gateway starts with the mail that it had, or says which file it cannot start with.

use super::support::{gateway::Home, load::home, next_hop::free_address, smtp::Client};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// It does not start with these: a made-up secret would lock their owners out.
const SECRETS: [&str; 2] = ["admin-token", "alert-secret"];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "queue" => {}
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

#[test]
fn a_damaged_file_of_the_data_directory_is_set_aside_or_named_and_no_mail_is_lost() {
    let home = home(free_address());
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    assert!(client.mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
    gateway.wait_for("bob@example.org", "held");
    gateway.stop();
    let mut found = Vec::new();
    files(&home.path("data"), &mut found);
    let names: Vec<&str> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert!(names.contains(&"journal.sqlite") && names.contains(&"admin-token"), "{names:?}");
    for file in &found {
        for damage in ["", "this is something else, and long enough to look like what should be here\n"] {
            start_with(&home, file, damage);
        }
    }
}

fn start_with(home: &Home, file: &Path, damage: &str) {
    let good = fs::read(file).unwrap();
    fs::write(file, damage).unwrap();
    fs::write(home.path("log"), "").unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    match home.start_with_faults("") {
        Ok(gateway) => {
            assert_eq!(gateway.waiting(), 1, "{name}: {damage:?}");
            gateway.stop();
        }
        Err(status) => {
            assert!(SECRETS.contains(&name), "{name}: {damage:?}: {status}");
            assert!(home.log().contains(name), "{name} is not named:\n{}", home.log());
        }
    }
    fs::write(file, good).unwrap();
}
