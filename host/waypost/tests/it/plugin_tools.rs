//! What authors of plugins type: `waypost plugin inspect`, `test`, `run` and `replay`, and the page about them.

use super::support::{
    gateway::{Home, binary, plugin, root},
    next_hop::NextHop,
    smtp::send,
    until,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

/// Compiled code is kept for all tests.
fn waypost(dir: &Path, args: &[&str]) -> Output {
    command(dir).args(args).output().expect("the binary runs")
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(dir).env("XDG_CACHE_HOME", root().join("target/tmp/plugin-tools"));
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// With exactly this exit code, and these parts in what it prints and says.
fn assert_told(output: &Output, code: i32, parts: &[&str]) {
    let told = format!("{}{}", out(output), err(output));
    assert_eq!(output.status.code(), Some(code), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

/// A directory with a shipped plugin, and its scenarios.
fn author(name: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(plugin(name), dir.path().join(format!("{name}.wasm"))).unwrap();
    for (file, text) in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

// Debug builds on busy machines are slow.
const LIMITS: &str = "[limits]\ntime = \"60 s\"\ncpu = \"30 s\"\n";

fn scenario(expect: &str) -> String {
    format!(
        "{LIMITS}[config]\nsubject-prefix = \"[external]\"\n[[step]]\nname = \"marked\"\nhook = \"on-message\"\nmail = \"Subject: Hello\\n\\ntext\\n\"\n[step.expect]\n{expect}\n"
    )
}

#[test]
fn a_component_is_inspected_and_what_is_none_is_told_with_its_cure() {
    let dir = author("tag", &[("text.wasm", "(component)\n")]);
    let told = waypost(dir.path(), &["plugin", "inspect", "tag.wasm"]);
    assert_told(&told, 0, &["hooks     setup, on-message", "contract  waypost:plugin@0.1.", "sha256    "]);
    let json = waypost(dir.path(), &["plugin", "inspect", "tag.wasm", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["usable"], &json["hooks"][1]), (&true.into(), &"on-message".into()));
    assert_eq!(json["sha256"].as_str().map(str::len), Some(64));
    assert_told(&waypost(dir.path(), &["plugin", "inspect", "text.wasm"]), 1, &["it is a text file"]);
    fs::write(dir.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let refused = waypost(dir.path(), &["plugin", "inspect", "core.wasm", "--json"]);
    assert_told(&refused, 1, &["\"usable\":false", "core WebAssembly module"]);
    assert_told(&waypost(dir.path(), &["plugin", "inspect", "gone.wasm"]), 2, &["gone.wasm"]);
}

#[test]
fn the_help_of_every_command_for_authors_shows_an_example() {
    for name in ["inspect", "test", "run", "replay"] {
        let help = waypost(Path::new("/"), &["plugin", name, "--help"]);
        assert_told(&help, 0, &["Example", &format!("  waypost plugin {name} ")]);
    }
}

#[test]
fn a_scenario_that_holds_ends_with_0_and_one_that_does_not_with_1() {
    let dir =
        author("tag", &[("tests/case.toml", &scenario("verdict = \"pass\"\nadded = [\"Subject: [external] Hello\"]"))]);
    let holds = waypost(dir.path(), &["plugin", "test"]);
    assert_told(
        &holds,
        0,
        &["case\n  ✓ marked  [on-message: pass]  ", " fuel, ", " host calls, ", "1 scenario, 1 step: all hold"],
    );
    let json = waypost(dir.path(), &["plugin", "test", "tag.wasm", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["holds"], true);
    assert!(json["scenarios"][0]["steps"][0]["call"]["spent"]["fuel"].as_u64().unwrap() > 0, "{json}");
    fs::write(dir.path().join("tests/case.toml"), scenario("verdict = \"reject\"")).unwrap();
    let fails = waypost(dir.path(), &["plugin", "test"]);
    assert_told(&fails, 1, &["✗ marked", "expected reject", "got      pass", "tests/case.toml:6", "0 hold, 1 fails"]);
    assert_told(&waypost(dir.path(), &["plugin", "test", "--filter", "nothing"]), 2, &["is named like \"nothing\""]);
}

#[test]
fn a_broken_scenario_ends_with_78_and_every_mistake() {
    let broken = scenario("verdict = \"pas\"\nadded = \"x\"");
    let dir = author("tag", &[("tests/a.toml", &broken), ("tests/b.toml", "stap = []\n")]);
    let told = waypost(dir.path(), &["plugin", "test"]);
    let parts = [
        "tests/a.toml:11:11: `verdict` cannot be \"pas\"",
        "did you mean \"pass\"?",
        "tests/a.toml:12:9",
        "did you mean `step`?",
    ];
    assert_told(&told, 78, &parts);
}

#[test]
fn an_author_without_a_scenario_is_told_how_to_write_one() {
    let dir = author("tag", &[]);
    let told = waypost(dir.path(), &["plugin", "test"]);
    assert_told(&told, 2, &["there is no scenario in ./tests", "[[step]]"]);
    // What is shown there is right.
    let shown = err(&told);
    let example: String =
        shown.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    fs::create_dir(dir.path().join("tests")).unwrap();
    fs::write(dir.path().join("tests/first.toml"), format!("{LIMITS}{example}")).unwrap();
    assert_told(&waypost(dir.path(), &["plugin", "test"]), 0, &["all hold"]);
    let empty = tempfile::tempdir().unwrap();
    assert_told(&waypost(empty.path(), &["plugin", "test"]), 2, &["no plugin project and holds no component"]);
    assert_told(&waypost(empty.path(), &["plugin", "test", "gone.wasm"]), 2, &["gone.wasm is not there"]);
}

#[test]
fn watched_scenarios_run_again_when_one_changes() {
    let dir = author("tag", &[("tests/case.toml", &scenario("verdict = \"reject\""))]);
    let mut watching = command(dir.path()).args(["plugin", "test", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let (lines, seen) = std::sync::mpsc::channel();
    let output = BufReader::new(watching.stdout.take().unwrap());
    let reader =
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line))));
    let wait_for = |text: &str| until(text, || seen.try_recv().ok().filter(|line| line.contains(text)));
    wait_for("1 fails");
    wait_for("waiting for changes");
    fs::write(dir.path().join("tests/case.toml"), scenario("verdict = \"pass\"")).unwrap();
    wait_for("all hold");
    watching.kill().unwrap();
    watching.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn one_mail_is_put_through_a_plugin() {
    let dir = author("tag", &[("hello.eml", "Subject: Hello\n\ntext\n"), ("table.toml", "subject-prefix = \"[x]\"\n")]);
    let run = |args: &[&str]| waypost(dir.path(), &[&["plugin", "run", "tag.wasm"], args].concat());
    let told = run(&["--message", "hello.eml", "--config", "{\"subject-prefix\": \"[external]\"}"]);
    assert_told(&told, 0, &["on-message: pass", "  - Subject: Hello", "  + Subject: [external] Hello", "cost: "]);
    let printed = run(&["--message", "hello.eml", "--plugin-config", "table.toml", "--print"]);
    assert_eq!(out(&printed), "Subject: [x] Hello\r\n\r\ntext\r\n", "{}", err(&printed));
    let json = run(&["--message", "hello.eml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["call"]["answer"], "pass");
    assert_told(&run(&["--hook", "on-route"]), 2, &["it does not export on-route; it exports on-message"]);
    assert_told(&run(&["--message", "gone.eml"]), 2, &["gone.eml"]);
    assert_told(&run(&["--config", "{"]), 78, &["neither a file nor a table"]);
    assert_told(&run(&["--config", "subject = 1"]), 1, &["it refuses its configuration"]);
    assert_told(&run(&["--grant", "smtp"]), 2, &["\"smtp\" is not a grant"]);
}

#[test]
fn recorded_mail_shows_what_another_version_would_do() {
    let dir = author("tag", &[]);
    let recorded = dir.path().join("recorded");
    record(&recorded);
    fs::copy(plugin("hostile"), dir.path().join("other.wasm")).unwrap();
    let replay = |args: &[&str]| {
        waypost(dir.path(), &[&["plugin", "replay", "tag.wasm", "--recorded", "recorded/example.org"], args].concat())
    };
    let same = replay(&["--plugin-config", "subject-prefix = \"[x]\"", "--fail-on-difference"]);
    assert_told(&same, 0, &["1 mails, 1 calls: 1 the same, 0 with another answer, 0 with other edits"]);
    let differs = replay(&["--plugin-config", "subject-prefix = \"[y]\""]);
    assert_told(
        &differs,
        0,
        &[
            "on-message\n  was  pass\n       - Subject: Hello\n       + Subject: [x] Hello\n",
            "  now  pass\n",
            "1 with other edits",
        ],
    );
    let fails = replay(&["--plugin-config", "subject-prefix = \"[y]\"", "--fail-on-difference"]);
    assert_told(&fails, 1, &["1 of 1 calls differ"]);
    let against = replay(&["--against", "tag.wasm", "--fail-on-difference", "--json"]);
    assert_told(&against, 0, &["\"answers-differ\":0", "\"calls\":1"]);
    let other = replay(&["--against", "other.wasm"]);
    assert_told(&other, 0, &["not asked"]);
    assert_told(&waypost(dir.path(), &["plugin", "replay", "tag.wasm"]), 2, &["--recorded"]);
    assert_told(&waypost(dir.path(), &["plugin", "replay", "tag.wasm", "--recorded", "gone"]), 2, &["gone"]);
}

#[test]
fn a_gateway_s_own_recordings_are_replayed_with_the_domain_s_configuration() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    let file = |prefix: &str| {
        let hop = next_hop.address;
        format!(
            "next-hop = \"{hop}\"\naccept = \"always\"\nplugins = [\"tag\"]\nrecord = {{}}\n[config.tag]\nsubject-prefix = \"{prefix}\"\n"
        )
    };
    home.with_plugin("tag").domain("example.org", &file("[x]"));
    let gateway = home.start();
    assert!(send(gateway.smtp, "a@client.example", "b@example.org", "Hello").starts_with("250 "));
    next_hop.wait(1);
    let kept = home.path("data/recorded/example.org");
    until("the mail is kept", || (journal::recorded::list(&kept).ok()?.len() == 1).then_some(()));
    gateway.stop();
    let component = home.path("plugins/tag.wasm");
    let replay = |component: &Path, args: &[&str]| {
        home.command(&[&["plugin", "replay", component.to_str().unwrap()], args].concat())
    };
    let domain = ["--domain", "example.org", "--fail-on-difference"];
    assert_told(&replay(&component, &domain), 0, &["1 mails, 1 calls: 1 the same"]);
    home.domain("example.org", &file("[y]"));
    assert_told(&replay(&component, &domain), 1, &["+ Subject: [x]", "+ Subject: [y]", "1 of 1 calls differ"]);
    let renamed = home.path("new-tag.wasm");
    fs::copy(&component, &renamed).unwrap();
    assert_told(&replay(&renamed, &domain), 2, &["example.org uses no plugin \"new-tag\"", "--plugin tag"]);
    assert_told(&replay(&renamed, &["--plugin", "tag", "--domain", "example.org"]), 0, &["1 with other edits"]);
    assert_told(&replay(&component, &["--domain", "example.net"]), 2, &["example.net is no domain of"]);
}

/// One mail, as a gateway with the plugin `tag` keeps it.
fn record(directory: &Path) {
    use mail::{CallRecord, Content, Hook, MailId, Mode, Recipient, Reply, ReversePath, Spent, Timestamp};
    let ok = || Reply::fixed(250, (2, 0, 0), "ok");
    let call = CallRecord {
        about: None,
        plugin: "tag".to_owned(),
        version: None,
        hook: Hook::OnMessage,
        mode: Mode::Active,
        at: Timestamp::from_secs(1),
        answer: "pass".to_owned(),
        failure: None,
        edits: vec!["- Subject: Hello".to_owned(), "+ Subject: [x] Hello".to_owned()],
        spent: Spent::default(),
        host_calls: Vec::new(),
    };
    let recorded = journal::recorded::Recorded {
        version: journal::recorded::VERSION,
        id: MailId::from_u128(7),
        received_at: Timestamp::from_secs(1_772_323_200),
        domain: "example.org".parse().unwrap(),
        session: journal::recorded::RecordedSession {
            listener: "127.0.0.1:25".to_owned(),
            peer: "192.0.2.7:4000".parse().unwrap(),
            peer_name: None,
            helo: None,
            tls_version: None,
            auth_user: None,
        },
        sender: ReversePath::Null,
        mail_params: Vec::new(),
        recipients: vec![journal::recorded::RecordedRecipient {
            recipient: Recipient::new("ann@example.org".parse().unwrap()),
            reply: ok(),
        }],
        authenticity: mail::Authenticity::default(),
        attributes: mail::Attributes::new(),
        calls: vec![call],
        answer: ok(),
    };
    recorded.write(directory, &Content::new("Subject: Hello\r\n\r\ntext\r\n".into())).unwrap();
}

#[test]
fn the_page_about_testing_plugins_does_what_it_says() {
    let page = fs::read_to_string(root().join("docs/testing-plugins.md")).unwrap();
    let dir = author("tag", &[]);
    fs::create_dir(dir.path().join("tests")).unwrap();
    let mut commands = Vec::new();
    let mut lines = page.lines();
    while let Some(fence) = lines.find(|line| line.starts_with("```") && line.len() > 3) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match fence {
            "```console" => commands.extend(block.into_iter().filter_map(|line| line.strip_prefix("$ waypost "))),
            _ => {
                let name = block[0].strip_prefix("# ").expect("the block's first line names its file");
                // The examples are for release builds.
                let limits = if fence == "```toml" { LIMITS } else { "" };
                fs::write(dir.path().join(name), format!("{limits}{}\n", block[1..].join("\n"))).unwrap();
            }
        }
    }
    assert_eq!(commands.len(), 5, "{commands:?}");
    for typed in commands {
        let output = command(dir.path()).args(words(typed)).output().unwrap();
        assert!(output.status.success(), "{typed}\n{}{}", out(&output), err(&output));
    }
}

/// As a shell would, with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}
