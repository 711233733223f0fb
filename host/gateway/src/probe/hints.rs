//! What a person can do about a step that has failed. Pure: words and nothing else.

use super::step::Kind;
use mail::{Domain, Failure, FailureKind, NextHop, Protocol};

/// Where the next hop stands, for the words.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub domain: &'a Domain,
    pub hop: &'a NextHop,
    pub hostname: &'a Domain,
}

impl Place<'_> {
    pub fn failed(&self, step: Kind, failure: &Failure) -> String {
        match step {
            Kind::Dns => self.name(),
            Kind::Connect => self.connect(failure),
            Kind::Greeting => self.greeting(failure),
            Kind::Ehlo => self.ehlo(failure),
            Kind::Starttls | Kind::Certificate => self.tls(failure),
            Kind::Identity => self.identity(),
            _ => "its log says why the connection ended".to_owned(),
        }
    }

    fn file(&self) -> String {
        format!("domains/{}.toml", self.domain)
    }

    fn name(&self) -> String {
        let Self { hop, .. } = self;
        format!(
            "is `next-hop` in {} spelt right? `getent ahosts {}` on this machine asks the same; an address, for instance 192.0.2.1:{}, needs no DNS",
            self.file(),
            hop.host,
            hop.port
        )
    }

    fn connect(&self, failure: &Failure) -> String {
        let Self { hop, .. } = self;
        match failure.kind {
            FailureKind::Identity => format!(
                "`next-hop` in {} must name the server behind this gateway, which has the mailboxes; the domain's MX names the gateway",
                self.file()
            ),
            FailureKind::Timeout => format!(
                "nothing comes back: a firewall drops what goes to port {0}, or the provider blocks it; let the server listen at another port too, for instance 2525, and write {1}:2525",
                hop.port, hop.host
            ),
            _ => format!(
                "is the server running, does it listen at port {0} and not only on its loopback address, is a firewall or a router's port forwarding in between? try `nc -vz {1} {0}` from here",
                hop.port, hop.host
            ),
        }
    }

    fn greeting(&self, failure: &Failure) -> String {
        let Self { hop, .. } = self;
        match failure.kind {
            FailureKind::Timeout if hop.port == 465 => {
                "port 465 begins with TLS: name the port for SMTP, 25 as a rule".to_owned()
            }
            FailureKind::Timeout => {
                "it takes connections and says nothing: is it a mail server, is it overloaded, or does it look up this gateway's address for too long?".to_owned()
            }
            FailureKind::Protocol => format!(
                "what listens at port {} does not speak SMTP: name the mail server's port, 25 as a rule",
                hop.port
            ),
            FailureKind::PermFail | FailureKind::TempFail => {
                "it does not let this gateway in: take the gateway's address out of its block lists and into its list of trusted relays".to_owned()
            }
            _ => "it ends connections at once: its log, or that of a proxy before it, says why".to_owned(),
        }
    }

    fn ehlo(&self, failure: &Failure) -> String {
        let Self { hop, hostname, .. } = self;
        match (failure.kind, hop.protocol) {
            (FailureKind::PermFail, Protocol::Lmtp) => {
                format!("it knows no LHLO: for SMTP leave lmtp:// out and write {}:{}", hop.host, hop.port)
            }
            (FailureKind::PermFail, Protocol::Smtp) => format!(
                "it dislikes the name {hostname}, or speaks LMTP: give the gateway a name that DNS knows (`hostname` in waypost.toml), or write lmtp://{}:{}",
                hop.host, hop.port
            ),
            _ => "its log says why the session ended".to_owned(),
        }
    }

    fn tls(&self, failure: &Failure) -> String {
        let file = self.file();
        if failure.detail.contains("STARTTLS") {
            return format!(
                "turn STARTTLS on there; with tls = \"opportunistic\" in {file} mail would go in clear text meanwhile"
            );
        }
        format!(
            "give it a certificate that is valid for {}; with tls = \"required\" in {file} any certificate will do, and `pin` under [identity] says which key it must have",
            self.hop.host
        )
    }

    fn identity(&self) -> String {
        format!(
            "mail waits meanwhile. Is it your server with a new key? `waypost domain trust {}` shows both and takes the new one, or change [identity] in {}; else find out who has its address",
            self.domain,
            self.file()
        )
    }

    pub fn refused_postmaster(&self) -> String {
        format!(
            "it refuses {0}'s mail: is {0} among the domains that it takes mail for, and this gateway among those it takes it from? RFC 5321 §4.5.1 wants postmaster@{0} to exist; or `next-hop` names somebody else's server",
            self.domain
        )
    }

    pub fn null_sender(&self) -> String {
        "it refuses the null reverse-path <>, which notifications come from (RFC 5321 §6.1): let it take such mail, or it loses them".to_owned()
    }

    pub fn greylisted(&self) -> String {
        "it asks to come back later, as greylisting does: let it trust this gateway's address, which has filtered already"
            .to_owned()
    }

    pub fn catch_all(&self) -> String {
        format!(
            "it takes any name at {}. If it does not mean to, it will send notifications to forged senders: let it refuse unknown names in the session, or list the known ones in the plugin `recipients`",
            self.domain
        )
    }

    pub fn open_relay(&self) -> String {
        "it relays to other domains for this gateway. If that is because it trusts the gateway's address, fine; if it does so for anybody, spammers will find it".to_owned()
    }

    pub fn small(&self, limit: u64, ours: u64) -> String {
        format!(
            "larger mail is accepted here and bounces there: raise its limit, or lower `max-message-size` in waypost.toml from {ours} to {limit}"
        )
    }
}
