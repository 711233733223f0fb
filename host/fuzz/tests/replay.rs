//! Every input that a person wrote or the fuzzer found, and changed copies of them, through its target.

use dialogue::{Dialogue, Line};
use fuzz::{
    TARGETS,
    corpus::{changed, directory, inputs},
};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Changed copies of each target's inputs; a fixed number and a fixed seed, so that a failure comes back.
const CHANGED: usize = 1_000;
/// Of those that go through the disk.
const CHANGED_FILES: usize = 40;

fn run(name: &str, target: fuzz::Target, what: &str, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "{name} fails on {what}: \"{}\"", input.escape_ascii());
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 3, "{name} has a corpus of {}", inputs.len());
        for (path, input) in inputs {
            run(name, *target, &path.display().to_string(), &input);
        }
    }
}

#[test]
fn changed_copies_of_the_corpus_pass() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        let mut random = fastrand::Rng::with_seed(1);
        let copies = if matches!(*name, "config" | "spool") { CHANGED_FILES } else { CHANGED };
        for nth in 0..copies {
            let input = changed(&inputs, &mut random);
            run(name, *target, &format!("changed copy {nth}"), &input);
        }
    }
}

#[test]
fn every_dialogue_passes_as_a_session() {
    let dialogues = Dialogue::read_all(&directory().join("../../smtp/tests/dialogues")).unwrap();
    assert!(dialogues.len() >= 150, "{} dialogues", dialogues.len());
    for dialogue in dialogues {
        let client =
            dialogue.lines.iter().filter_map(|line| if let Line::Client(bytes) = line { Some(bytes) } else { None });
        let sent: Vec<u8> = client.flatten().copied().collect();
        // In single bytes and in pieces, strict and not, trusted and not.
        for knob in [0x40, 0x41, 0x45] {
            run("session", fuzz::target("session"), &dialogue.name, &[&[knob], &sent[..]].concat());
        }
    }
}

#[test]
fn each_directory_of_the_corpus_has_its_target_and_each_target_its_fuzzer() {
    let mut directories: Vec<String> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    directories.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(directories, names);
    let fuzzers = directory().with_file_name("libfuzzer").join("fuzz_targets");
    for name in names {
        let text = fs::read_to_string(fuzzers.join(name).with_extension("rs")).unwrap();
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
    }
}
