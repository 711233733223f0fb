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
    /// A mail's whole story: its session, what each plugin said and changed, each attempt with what was spoken
    #[command(after_help = "\
Examples:
  waypost trace 01M865AJN82SC1SN893ED0XXWS
  waypost trace --recipient ann@example.org --sender news@example.net --limit 1")]
    Trace(TraceArgs),
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
    /// Of this domain
    #[arg(long)]
    pub domain: Option<String>,
    /// That wait for this next hop
    #[arg(long, value_name = "HOST:PORT")]
    pub next_hop: Option<String>,
    /// From this address, from '@domain', or from '<>'
    #[arg(long)]
    pub sender: Option<String>,
    /// To this address or '@domain'
    #[arg(long)]
    pub recipient: Option<String>,
    /// queued, deferred, held, quarantined or claimed
    #[arg(long)]
    pub state: Option<String>,
    /// That arrived before so long: '1 h', '2 d'
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<String>,
}
