//! What can be said on the command line. Pure.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A programmable mail gateway: accepts a domain's mail, asks the domain's WebAssembly plugins, and
/// relays it to the host and port that the domain configured.
#[derive(Debug, Parser)]
#[command(
    name = "waypost",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  waypost demo                                    see it work in one terminal
  waypost check --config waypost.toml             is the configuration right?
  waypost run --config waypost.toml               the gateway itself
  waypost queue list --domain example.org         what waits for example.org

Exit codes: 0 done, 1 failed, 2 usage, 78 bad configuration."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// waypost.toml [default: ./waypost.toml, then /etc/waypost/waypost.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway: SIGTERM and Ctrl-C drain it, SIGHUP reads domains and plugins again
    #[command(after_help = "\
Example:
  waypost run --config /etc/waypost/waypost.toml
  WAYPOST_LOG=debug waypost run                   more lines; see WAYPOST_LOG of tracing's filters")]
    Run {
        /// How log lines look
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log: LogFormat,
    },
    /// Read all the configuration and load all the plugins; print every error
    #[command(after_help = "Example:\n  waypost check --config waypost.toml && systemctl reload waypost")]
    Check,
    /// The whole thing in one terminal: gateway, a domain with plugins, a next hop, sample mail
    #[command(
        after_help = "Examples:\n  waypost demo           stays up until Ctrl-C; send it mail of your own\n  waypost demo --once    ends with 0 as soon as the sample mail has arrived, else with 1"
    )]
    Demo {
        /// End as soon as the sample mail has arrived
        #[arg(long)]
        once: bool,
        /// Where the shipped plugins are [default: beside this program, in ../plugins]
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
    },
    /// Send one mail by SMTP, to try things
    #[command(after_help = "\
Examples:
  waypost send --to 127.0.0.1:2525 --from ann@example.net bob@example.org
  waypost send --to 127.0.0.1:2525 --from '' --tls required --file mail.eml bob@example.org")]
    Send(SendArgs),
    /// Be a next hop that accepts everything and prints what it gets
    #[command(after_help = "Example:\n  waypost sink --listen 127.0.0.1:2600 --save received/")]
    Sink(SinkArgs),
    /// What waits for delivery
    #[command(
        subcommand,
        after_help = "Example:\n  waypost queue list --domain example.org && waypost queue retry --domain example.org"
    )]
    Queue(QueueCommand),
    /// Who is told of outages, and what they have not accepted yet
    #[command(subcommand, after_help = "Example:\n  waypost alert test example.org")]
    Alert(AlertCommand),
    /// Test a domain's next hops step by step, from where its mail goes out
    #[command(after_help = "\
Examples:
  waypost probe example.org
  waypost probe example.org --next-hop new.example.org:25      before its file names it
  waypost probe example.org --message ann@example.org          a real mail with a code in it
  waypost probe example.org --confirm 7QK2M0X9DA               it has arrived

Exit codes: 0 passed, 1 failed, 2 usage, 78 bad configuration.")]
    Probe(ProbeArgs),
    /// A domain's file, and its switches
    #[command(
        subcommand,
        after_help = "Example:\n  waypost domain add example.org --next-hop mail.example.org:25 && waypost probe example.org"
    )]
    Domain(DomainCommand),
    /// A mail's whole story: its session, what each plugin said and changed, each attempt with what was spoken
    #[command(after_help = "\
Examples:
  waypost trace 01M865AJN82SC1SN893ED0XXWS
  waypost trace --recipient ann@example.org --sender news@example.net --limit 1")]
    Trace(TraceArgs),
    /// Make the lines of [check-in] for a domain's file from a password, which is asked for, or read from standard input
    #[command(after_help = "\
Examples:
  waypost password --user example-org --scram
  pwgen 32 1 | tee secret | waypost password --user example-org >> domains/example.org.toml")]
    Password(PasswordArgs),
    /// Let the running gateway look at its files now, and tell what it could not take
    #[command(after_help = "Example:\n  waypost reload && waypost trace --recipient ann@example.org")]
    Reload {
        #[arg(long)]
        json: bool,
    },
    /// For authors of plugins: look at a component, test it, try it on mail
    #[command(subcommand, after_help = "Example:\n  waypost plugin inspect greylist.wasm && waypost plugin test")]
    Plugin(crate::plugin::Command),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Who checks in, or collects mail
    #[arg(long, default_value = "example-org", value_name = "NAME")]
    pub user: String,
    /// The line for AUTH SCRAM-SHA-256 too, with the same password
    #[arg(long)]
    pub scram: bool,
    /// A line for AUTH CRAM-MD5 too, with a password of its own that is made here
    #[arg(long)]
    pub cram_md5: bool,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// host:port of the server
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Reverse-path; '' is the null reverse-path
    #[arg(long, default_value = "sender@example.net")]
    pub from: String,
    /// Subject of the mail that is made up when no file is given
    #[arg(long, default_value = "Hello from waypost send")]
    pub subject: String,
    /// A mail to send as it is (line ends become CRLF); - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "subject")]
    pub file: Option<PathBuf>,
    /// none, opportunistic, required or verified
    #[arg(long, default_value = "opportunistic")]
    pub tls: String,
    #[arg(required = true, value_name = "RECIPIENT")]
    pub recipients: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SinkArgs {
    #[arg(long, default_value = "127.0.0.1:2600", value_name = "HOST:PORT")]
    pub listen: std::net::SocketAddr,
    /// Write each mail to a file of its own in this directory
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// End after so many mails
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print a line for each mail, not its text
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// As in the reply that the client got, and in Received
    #[arg(required_unless_present_any = ["sender", "recipient"])]
    pub id: Option<String>,
    /// From this address, or from '<>'
    #[arg(long)]
    pub sender: Option<String>,
    /// To this address
    #[arg(long)]
    pub recipient: Option<String>,
    /// At most so many mails, the latest
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The domain
    pub name: String,
    /// Probe this in place of what its file names; a pass proves nothing of the domain
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["message", "confirm"])]
    pub next_hop: Option<String>,
    /// Of each step: '5 s' [default: 30 s to connect, 1 min for each answer]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Send a real mail with a code in it to this address of the domain
    #[arg(long, value_name = "TO", conflicts_with = "confirm")]
    pub message: Option<String>,
    /// That mail has arrived: this is its code
    #[arg(long, value_name = "CODE")]
    pub confirm: Option<String>,
    /// One line of JSON for each step, then one that sums up
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Write a domain's file; one that is there is left alone
    #[command(after_help = "\
Examples:
  waypost domain add example.org --next-hop mail.example.org:25
  waypost domain add example.net --next-hop lmtp://127.0.0.1:24 --tls none --plugins recipients,greylist")]
    Add(AddArgs),
    /// Each domain with its next hop, what waits for it, and whether it is served
    #[command(after_help = "Example:\n  waypost domain list --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// All that is known of a domain: route, TLS, identity, what waits, the last probe
    #[command(after_help = "Example:\n  waypost domain show example.org")]
    Show(NameArgs),
    /// Keep all mail of a domain until it is released; it is accepted meanwhile
    #[command(after_help = "Example:\n  waypost domain hold example.org --reason 'moving house'")]
    Hold {
        #[command(flatten)]
        domain: NameArgs,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a domain's mail go out again
    #[command(after_help = "Example:\n  waypost domain release example.org")]
    Release(NameArgs),
    /// Say that a domain's next hop is away: its mail waits, or goes where [offline] says
    #[command(after_help = "Example:\n  waypost domain offline example.org")]
    Offline(NameArgs),
    /// Say that it is back
    #[command(after_help = "Example:\n  waypost domain online example.org")]
    Online(NameArgs),
    /// Trust the key that a next hop shows now, in place of the one that was trusted
    #[command(
        after_help = "Examples:\n  waypost domain trust example.org          shows both keys, and asks\n  waypost domain trust example.org --yes"
    )]
    Trust(TrustArgs),
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// The domain
    pub name: String,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The domain
    pub name: String,
    /// Where its mail goes; several are tried in order
    #[arg(long, required = true, value_name = "HOST:PORT")]
    pub next_hop: Vec<String>,
    /// none, opportunistic, required or verified [default: opportunistic]
    #[arg(long)]
    pub tls: Option<String>,
    /// Its plugins, in order
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub plugins: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The domain
    pub name: String,
    /// Where it has several
    #[arg(long, value_name = "HOST:PORT")]
    pub next_hop: Option<String>,
    /// Without asking
    #[arg(long)]
    pub yes: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Each recipient that waits, with its state, when it is due, and why it waits
    #[command(
        after_help = "Examples:\n  waypost queue list\n  waypost queue list --state held --older-than '1 h' --json"
    )]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[arg(long)]
        json: bool,
        /// At most so many lines
        #[arg(long, default_value_t = 200)]
        limit: usize,
    },
    /// Try now what the filter selects (all, without one)
    #[command(after_help = "Example:\n  waypost queue retry --domain example.org")]
    Retry(ActArgs),
    /// Send what waits elsewhere than its domain's file says, or let it take the file's new route now
    #[command(after_help = "\
A rule is made that holds, for mail that is there now, until it is undone. Without --to, mail that waits for a next hop
that its domain's file names no more takes the route of the file.

Examples:
  waypost queue reroute --domain example.org --to spare.example.net:25 --dry-run
  waypost queue reroute --domain example.org --to spare.example.net:25
  waypost queue reroute --list
  waypost queue reroute --undo r1")]
    Reroute(RerouteArgs),
    /// Keep what the filter selects until someone releases it
    #[command(after_help = "Example:\n  waypost queue hold --sender @partner.example --reason 'asked them'")]
    Hold {
        #[command(flatten)]
        act: ActArgs,
        #[arg(long, default_value = "held by an operator")]
        reason: String,
    },
    /// Let held or quarantined mail go on
    #[command(after_help = "Example:\n  waypost queue release --state quarantined --recipient ann@example.org")]
    Release(ActArgs),
    /// Remove for good what the filter selects; nobody is told
    #[command(after_help = "Example:\n  waypost queue remove --id 01M865AJN82SC1SN893ED0XXWS")]
    Remove(ActArgs),
}

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Alerts that nobody has accepted yet, with what the last try heard
    #[command(after_help = "Example:\n  waypost alert list --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Send a test alert to everybody who hears of a domain, and tell what each said
    #[command(after_help = "Example:\n  waypost alert test example.org")]
    Test {
        domain: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct RerouteArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// The next hop that it goes to
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<String>,
    /// Say what would move where, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The rules that hold
    #[arg(long, conflicts_with_all = ["WhichArgs", "to", "dry_run", "undo"])]
    pub list: bool,
    /// Take a rule back
    #[arg(long, value_name = "RULE", conflicts_with_all = ["WhichArgs", "to", "dry_run"])]
    pub undo: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ActArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Of this mail
    #[arg(long)]
    pub id: Option<String>,
    #[command(flatten)]
    pub which: WhichArgs,
    /// queued, deferred, held, quarantined or claimed
    #[arg(long)]
    pub state: Option<String>,
    /// That arrived before so long: '1 h', '2 d'
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<String>,
}

/// Mail by where it comes from and where it goes.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichArgs {
    /// Of this domain
    #[arg(long)]
    pub domain: Option<String>,
    /// That waits for this next hop, or would go there
    #[arg(long, value_name = "HOST:PORT")]
    pub next_hop: Option<String>,
    /// From this address, from '@domain', or from '<>'
    #[arg(long)]
    pub sender: Option<String>,
    /// To this address or '@domain'
    #[arg(long)]
    pub recipient: Option<String>,
}

impl WhichArgs {
    /// As the admin API asks for it.
    pub fn pairs(self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { domain, next_hop, sender, recipient } = self;
        let all = [("domain", domain), ("next-hop", next_hop), ("sender", sender), ("recipient", recipient)];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}
