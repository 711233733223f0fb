//! Each key's default, good and bad values.

use super::*;
use mail::{Isolation, OnFailure};
use serde_json::json;
use smtp::BareLineEnds;

const HOP: &str = "next-hop = 'mail.example.org:25'\n";

#[test]
fn a_hostname_is_all_that_the_gateway_needs() {
    let files = Files::gateway("hostname = 'MX1.example.net.'");
    let config = files.config();
    assert_eq!(config.hostname, "mx1.example.net");
    assert_eq!((config.data_dir, config.plugin_dir), (files.path("data"), files.path("plugins")));
    assert_eq!((config.file, config.domain_dir), (files.path("waypost.toml"), files.path("domains")));
    assert_eq!((config.max_message_size, config.max_recipients), (50 << 20, 1000));
    assert_eq!(config.room, Room::default());
    assert_eq!((config.max_connections, config.max_connections_per_address), (10_000, 50));
    assert_eq!((config.max_connections_per_network, &config.limits), (200, &Limits::default()));
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.address.to_string().as_str(), listener.tls), ("[::]:25", ListenerTls::Optional));
    assert_eq!((config.admin.listen.to_string().as_str(), config.admin.explicit), ("127.0.0.1:8025", false));
    assert_eq!(config.admin.token_file, files.path("data/admin-token"));
    assert!(
        config.tls.is_none()
            && config.plugins.is_empty()
            && config.chain.is_empty()
            && config.dsn_next_hops.is_empty()
            && config.domains.is_empty()
    );
}

#[test]
fn a_next_hop_is_all_that_a_domain_needs() {
    let domain = Files::domain(HOP).example_org();
    assert_eq!(domain.next_hops, ["mail.example.org:25".parse().unwrap()]);
    assert_eq!((domain.tls, domain.accept), (TlsMode::Opportunistic, Accept::AfterProbe));
    assert_eq!(domain.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(domain.offline, Offline::default());
    assert!(domain.plugins.is_empty() && domain.own_plugins.is_none());
}

#[test]
fn the_machines_full_name_stands_in_for_a_missing_hostname() {
    let files = Files::gateway("");
    let load = |system| Config::load_on(&files.path("waypost.toml"), system);
    assert_eq!(load(Some("mx.example.net")).unwrap().hostname, "mx.example.net");
    for unusable in [None, Some("vm"), Some("a b.example")] {
        assert!(load(unusable).unwrap_err().to_string().contains("`hostname` is missing"));
    }
}

#[test]
fn the_gateways_keys_are_read() {
    let files = Files::gateway(
        "hostname = 'mx1.example.net'
        data-dir = '/var/lib/waypost'
        domain-dir = 'customers'
        plugin-dir = 'lib'
        max-message-size = '10 MiB'
        max-mail-in-memory = '20 MiB'
        spool-threshold = '16 KiB'
        min-free-space = '0 B'
        min-free-inodes = 7
        max-connections = 0x100
        max-connections-per-address = 1_0
        max-recipients = 100
        dsn-next-hop = 'smarthost.example.net:587'
        [[listener]]
        address = '127.0.0.1:0'
        tls = 'required'
        [[listener]]
        address = '127.0.0.1:0'
        tls = 'implicit'
        proxy-protocol-from = []
        xclient-from = ['192.0.2.0/24', '::1']
        bare-line-ends = 'normalise'
        [timeouts]
        greeting = '2 s'
        data-block = '1 min'
        [tls]
        certificate = 'cert.pem'
        key = 'secret/key.pem'
        [admin]
        listen = '[::1]:8025'
        token-file = 'token'",
    );
    let config = files.with("customers/example.org.toml", HOP).with("cert.pem", "").with("secret/key.pem", "");
    let (files, config) = (&config, config.config());
    assert_eq!((config.data_dir, config.plugin_dir), (PathBuf::from("/var/lib/waypost"), files.path("lib")));
    assert_eq!((config.max_message_size, config.max_recipients), (10 << 20, 100));
    assert_eq!((config.room.max_mail_in_memory, config.room.spool_threshold), (20 << 20, 16 << 10));
    assert_eq!((config.room.watermarks.space, config.room.watermarks.inodes), (0, 7));
    assert_eq!((config.max_connections, config.max_connections_per_address), (256, 10));
    let [first, second] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!((first.xclient_from.len(), second.xclient_from.len()), (0, 2));
    assert_eq!([first.bare_line_ends, second.bare_line_ends], [BareLineEnds::Refuse, BareLineEnds::Normalise]);
    let modes: Vec<_> = config.listeners.iter().map(|listener| listener.tls).collect();
    assert_eq!(modes, [ListenerTls::Required, ListenerTls::Implicit]);
    assert_eq!(config.tls.unwrap().key, files.path("secret/key.pem"));
    assert_eq!((config.admin.listen.to_string().as_str(), config.admin.explicit), ("[::1]:8025", true));
    assert_eq!(config.admin.token_file, files.path("token"));
    assert_eq!(config.dsn_next_hops, ["smarthost.example.net:587".parse().unwrap()]);
    let (timeouts, default) = (config.timeouts, Timeouts::default());
    assert_eq!((timeouts.greeting, timeouts.data_block), (Duration::from_secs(2), Duration::from_secs(60)));
    assert_eq!(Timeouts { greeting: default.greeting, data_block: default.data_block, ..timeouts }, default);
    assert_eq!(config.domains.len(), 1);
}

#[test]
fn a_listener_changes_single_keys_of_the_limits_of_all() {
    let config = Files::gateway(
        "hostname = 'mx1.example.net'
        max-connections-per-address = 10
        [limits]
        idle = '2 min'
        least-rate = '1 KiB'
        greeting-delay = '0 s'
        tarpit-after = 0
        [limits.per-address]
        messages-per-minute = 5
        errors-per-minute = 7
        [limits.per-listener]
        connections = 100
        [[listener]]
        address = '127.0.0.1:0'
        [[listener]]
        address = '127.0.0.1:0'
        proxy-protocol-from = ['192.0.2.0/24', '2001:db8::1']
        limits = { idle = '3 s', per-address = { messages-per-minute = 6 } }",
    )
    .config();
    assert_eq!(config.max_connections_per_network, 40);
    let [of_all, own] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!(of_all.limits, config.limits);
    let expected = Caps { messages_per_minute: Some(5), errors_per_minute: Some(7), ..Caps::default() };
    assert_eq!(of_all.limits.per_address, expected);
    assert_eq!(of_all.limits.per_listener, Caps { connections: Some(100), ..Caps::default() });
    let patience = of_all.limits.patience;
    assert_eq!((patience.idle, patience.least_rate, patience.tarpit.after), (Duration::from_secs(120), 1024, 0));
    assert_eq!(own.limits.per_address, Caps { messages_per_minute: Some(6), ..expected });
    assert_eq!(own.limits.patience, Patience { idle: Duration::from_secs(3), ..patience });
    assert!(own.proxy_protocol_from.iter().any(|network| network.contains("192.0.2.7".parse().unwrap())));
}

#[test]
fn a_domains_keys_are_read() {
    let text = "next-hop = ['mail.example.org:25', 'lmtp://[::1]:24', 'smtp://192.0.2.1:587?tls=verified']
        tls = 'required'
        retention = '2 d'
        accept = 'always'
        [offline]
        action = 'redirect'
        redirect = ['backup.example.net:25']
        alert = ['https://hooks.example.org/a', { command = ['/usr/local/bin/page-me', 'now'] }, 'https://hooks.example.org/a']
        alert-after = '0 s'";
    let domain = Files::domain(text).example_org();
    assert_eq!(domain.next_hops.len(), 3);
    assert_eq!((domain.tls, domain.accept), (TlsMode::Required, Accept::Always));
    assert_eq!(domain.retention, Duration::from_secs(2 * 86_400));
    assert_eq!(domain.offline.action, OfflineSetting::Redirect);
    assert_eq!(domain.offline.redirect, ["backup.example.net:25".parse().unwrap()]);
    let webhook = AlertTarget::Webhook("https://hooks.example.org/a".to_owned());
    let command = AlertTarget::Command(vec!["/usr/local/bin/page-me".to_owned(), "now".to_owned()]);
    assert_eq!((domain.offline.alert, domain.offline.alert_after), (vec![webhook, command], Duration::ZERO));
}

#[test]
fn the_gateways_alerts_have_defaults() {
    let files = Files::gateway("hostname = 'mx1.example.net'");
    let day = Duration::from_secs(86_400);
    let expected = Alerting { to: vec![], secret_file: files.path("data/alert-secret"), expiry_warning: day };
    assert_eq!(files.config().alerts, expected);
    let text = "hostname = 'mx1.example.net'
        [alerts]
        to = 'http://127.0.0.1:8080/'
        secret-file = 'secret'
        expiry-warning = '2 d'";
    let files = Files::gateway(text);
    let to = vec![AlertTarget::Webhook("http://127.0.0.1:8080/".to_owned())];
    let expected = Alerting { to, secret_file: files.path("secret"), expiry_warning: 2 * day };
    assert_eq!(files.config().alerts, expected);
}

#[test]
fn hops_for_a_redirect_may_wait_for_the_day_that_they_are_needed() {
    let text = format!("{HOP}[offline]\naction = 'hold'\nredirect = 'backup.example.net:25'");
    let domain = Files::domain(&text).example_org();
    assert_eq!((domain.offline.action, domain.offline.redirect.len()), (OfflineSetting::Hold, 1));
}

#[test]
fn a_plugins_table_is_its_configuration() {
    let text = format!(
        "{HOP}plugins = [
            'greylist',
            {{ use = 'my-rules', on-failure = 'quarantine', isolation = 'transaction', config = {{ quiet = '22-06' }} }},
            {{ use = 'tag', on-failure = 'pass' }},
            'tag',
        ]
        [config.greylist]
        delay = '5 min'
        since = 2026-11-24
        keep = [1, 0.5, true, {{ a = -127 }}]
        [config.tag.headers]
        X-Gateway = 'a'"
    );
    let plugins = Files::domain(&text).example_org().plugins;
    let config: Vec<_> = plugins.iter().map(|binding| (binding.plugin.as_str(), &binding.config)).collect();
    let tag = json!({ "headers": { "X-Gateway": "a" } });
    let greylist = json!({ "delay": "5 min", "since": "2026-11-24", "keep": [1, 0.5, true, { "a": -127 }] });
    let expected = [("greylist", &greylist), ("my-rules", &json!({ "quiet": "22-06" })), ("tag", &tag), ("tag", &tag)];
    assert_eq!(config, expected);
}

#[test]
fn an_inline_configuration_replaces_the_table() {
    let text = format!(
        "{HOP}plugins = [{{ use = 'tag', config = {{ a = 1 }} }}, 'tag']
        [config.tag]
        b = 2"
    );
    let plugins = Files::domain(&text).example_org().plugins;
    let config: Vec<_> = plugins.iter().map(|binding| &binding.config).collect();
    assert_eq!(config, [&json!({ "a": 1 }), &json!({ "b": 2 })]);
}

#[test]
fn each_failure_policy_and_isolation_has_a_name() {
    for (name, policy) in [
        ("tempfail", OnFailure::TempFail),
        ("pass", OnFailure::Pass),
        ("reject", OnFailure::Reject),
        ("quarantine", OnFailure::Quarantine),
    ] {
        let text = format!("hostname = 'mx.example.net'\n[[chain]]\nuse = 'policy'\non-failure = '{name}'");
        let [binding] = &Files::gateway(&text).config().chain[..] else { panic!("one binding") };
        assert_eq!((binding.on_failure, binding.isolation), (Some(policy), Isolation::Domain));
    }
}

#[test]
fn grants_are_added_to_the_default_ones() {
    let text = "hostname = 'mx.example.net'
        [plugins.rspamd]
        grant = ['dns', 'kv']
        memory = '16 MiB'
        time = '500 ms'
        [plugins.quiet]";
    let plugins = Files::gateway(text).config().plugins;
    let rspamd = plugins.get("rspamd").unwrap();
    assert_eq!(rspamd.grants, ["config", "log", "metrics", "kv", "dns"]);
    assert_eq!((rspamd.memory, rspamd.time), (Some(16 << 20), Some(Duration::from_millis(500))));
    let quiet = plugins.get("quiet").unwrap();
    assert_eq!((quiet.grants.len(), quiet.memory, quiet.time), (4, None, None));
}

#[test]
fn a_file_is_named_after_its_domain_in_any_spelling() {
    let files = Files::gateway("hostname = 'mx.example.net'")
        .with("domains/Example.ORG.toml", HOP)
        .with("domains/bücher.example.toml", HOP)
        .with("domains/.example.com.toml", "an editor's")
        .with("domains/example.com.toml~", "an editor's")
        .with("domains/README", "not ours");
    let names: Vec<_> = files.config().domains.keys().map(Domain::to_string).collect();
    assert_eq!(names, ["example.org", "xn--bcher-kva.example"]);
}

#[test]
fn a_domains_own_plugins_lie_beside_its_file() {
    let files = Files::domain(HOP).with("domains/example.org/plugins/mine.wasm", "");
    assert_eq!(files.example_org().own_plugins, Some(files.path("domains/example.org/plugins")));
    let files = Files::gateway("hostname = 'mx.example.net'")
        .with("domains/bücher.example.toml", HOP)
        .with("domains/xn--bcher-kva.example/plugins/mine.wasm", "");
    let own: Vec<_> = files.config().domains.values().map(|domain| domain.own_plugins.clone()).collect();
    assert_eq!(own, [Some(files.path("domains/xn--bcher-kva.example/plugins"))]);
}

#[test]
fn the_nearest_name_is_offered() {
    for (text, offered) in [
        ("nexthop = 'a:25'", "did you mean `next-hop`?"),
        ("tsl = 'none'", "did you mean `tls`?"),
        ("tls = 'opportunstic'", "did you mean \"opportunistic\"?"),
        ("accept = 'after_probe'", "did you mean \"after-probe\"?"),
        ("[ofline]", "did you mean `offline`?"),
        ("[offline]\nacton = 'hold'", "did you mean `action`?"),
        ("[offline]\naction = 'Bounce'", "did you mean \"bounce\"?"),
    ] {
        let mistakes = Files::domain(text).mistakes().join("\n");
        assert!(mistakes.contains(offered), "{text}: {mistakes}");
    }
    let far = Files::domain(&format!("{HOP}bananas = 1")).mistakes().join("\n");
    assert!(far.contains("one of `next-hop`") && !far.contains("did you mean"), "{far}");
}

#[test]
fn the_documented_configuration_works() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let docs = fs::read_to_string(docs).unwrap();
    let blocks: Vec<_> = docs.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2, "a block for each kind of file");
    for block in blocks {
        let files = if block.starts_with("# waypost.toml") { Files::gateway(block) } else { Files::domain(block) };
        files.with("cert.pem", "").with("key.pem", "").config();
    }
}

/// RFC 7677's password, as each mechanism keeps it.
const CHECK_IN: &str = "[check-in]\nuser = 'example-org'\n\
    password-hash = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$0ZEHhWYCT5gLn2mVuTiBAQ5QyaWTXZbgWcxgS5hBgyY'\n\
    scram-sha-256 = 'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU='\n\
    cram-md5-secret = 'a password of its own'\n";

#[test]
fn mail_may_wait_to_be_collected_where_somebody_can_collect_it() {
    let gateway = "hostname = 'mx1.example.net'\n[[listener]]\naddress = '[::]:366'\nservice = 'odmr'";
    let files = Files::gateway(gateway);
    let files = files.with("domains/example.org.toml", &format!("next-hop = 'on-demand'\n{CHECK_IN}"));
    assert_eq!(files.config().listeners[0].service, Service::Odmr);
    let domain = files.example_org();
    assert!(domain.on_demand && domain.next_hops.is_empty());
    let check_in = domain.check_in.unwrap();
    assert_eq!(check_in.user, "example-org");
    assert_eq!(check_in.cram_md5_secret.as_ref().unwrap().reveal(), "a password of its own");
    assert!(check_in.scram_sha_256.is_some());
    let shown = format!("{check_in:?}");
    assert!(!shown.contains("of its own") && !shown.contains("W22ZaJ0"), "{shown}");

    let files = Files::domain(&format!("next-hop = 'on-demand'\n{CHECK_IN}"));
    let mistakes = files.mistakes();
    assert!(mistakes.len() == 1 && mistakes[0].contains("service = \"odmr\""), "{mistakes:?}");
}

#[test]
fn a_next_hop_is_bound_to_a_lease_only_where_the_file_says_how_long_that_is() {
    let with = |next_hop: &str, lease: &str| Files::domain(&format!("next-hop = '{next_hop}'\n{CHECK_IN}{lease}"));
    assert_eq!(with("mail.example.org:25", "").example_org().lease(), None);
    let ten_minutes = Some(Duration::from_secs(600));
    assert_eq!(with("mail.example.org:25", "lease = '10 min'").example_org().lease(), ten_minutes);
    let mistakes = with("on-demand", "lease = '10 min'").mistakes();
    assert!(mistakes.iter().any(|mistake| mistake.contains("`lease` is for a next hop")), "{mistakes:?}");
}
