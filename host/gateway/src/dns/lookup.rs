//! What checks of authenticity ask of DNS: whatever is not there is an empty list, what cannot be found out now is an
//! error, and neither is ever taken for the other.
//!
//! They have a cache of their own, so that names of strangers' choice never push out where next hops are. While
//! nobody answers, questions fail at once: mail must not wait for servers that are gone.

use super::Dns;
use hickory_resolver::{
    TokioResolver,
    net::NetError,
    proto::rr::{Name, RData, RecordType},
};
use mail::BoxFuture;
use std::{net::IpAddr, time::Duration};

/// Of one question to one server; there are two tries.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// Answers kept, each of 64 KiB at the most.
pub(super) const CACHE: u64 = 1024;
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(3600);
/// How long "no such record" is believed: a key or a policy may be new.
pub(super) const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// Records of one answer.
const MAX_RECORDS: usize = 100;
/// Of the question whether anybody is there. Who serves names has the answer at hand.
pub(super) const PULSE_TIMEOUT: Duration = Duration::from_secs(1);
/// With all its tries.
const PULSE_TIME: Duration = Duration::from_secs(3);

/// It cannot be found out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DNS does not answer")]
pub struct Unavailable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

impl From<IpAddr> for Family {
    fn from(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Names may be anything that a stranger wrote; one that cannot be a name has no records.
pub trait Lookup: Send + Sync {
    /// Each record's strings are joined.
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, Unavailable>>;
    /// By preference.
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, Unavailable>>;
    fn addresses<'a>(&'a self, name: &'a str, family: Family) -> BoxFuture<'a, Result<Vec<IpAddr>, Unavailable>>;
    /// PTR; not confirmed.
    fn names(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, Unavailable>>;
}

impl Dns {
    /// None while nobody can be asked.
    pub fn checks_resolver(&self) -> Option<TokioResolver> {
        if self.pulse.is_dead() {
            return None;
        }
        self.current().servers.as_ref().ok().map(|resolvers| resolvers.checks.clone())
    }

    async fn records<T>(
        &self,
        name: Option<Name>,
        kind: RecordType,
        value: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, Unavailable> {
        let Some(name) = name else { return Ok(Vec::new()) };
        let resolver = self.checks_resolver().ok_or(Unavailable)?;
        let answer = resolver.lookup(name, kind).await;
        if !is_silence(&answer) {
            self.pulse.answered();
        } else if let Some(doubt) = self.pulse.silent() {
            doubt.settle(self.is_somebody_there().await);
        }
        match answer {
            // Aliases on the way are of another kind.
            Ok(found) => {
                Ok(found.answers().iter().filter_map(|record| value(&record.data)).take(MAX_RECORDS).collect())
            }
            // NXDOMAIN and NODATA.
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(_) => Err(Unavailable),
        }
    }
}

impl Dns {
    /// Asks for the root's servers: no stranger's server can keep that from being answered.
    async fn is_somebody_there(&self) -> bool {
        let built = self.current();
        let Ok(resolvers) = built.servers.as_ref() else { return false };
        let answer = tokio::time::timeout(PULSE_TIME, resolvers.pulse.lookup(Name::root(), RecordType::NS)).await;
        answer.is_ok_and(|answer| !is_silence(&answer))
    }
}

/// SERVFAIL and the like are answers too: somebody is there.
fn is_silence<T>(answer: &Result<T, NetError>) -> bool {
    matches!(answer, Err(NetError::Timeout | NetError::NoConnections | NetError::Io(_)))
}

impl Lookup for Dns {
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, Unavailable>> {
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        };
        Box::pin(self.records(absolute(name), RecordType::TXT, text))
    }

    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let exchanger = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, written(&mx.exchange))),
            _ => None,
        };
        Box::pin(async move {
            let mut found = self.records(absolute(name), RecordType::MX, exchanger).await?;
            found.sort();
            Ok(found.into_iter().map(|(_, name)| name).collect())
        })
    }

    fn addresses<'a>(&'a self, name: &'a str, family: Family) -> BoxFuture<'a, Result<Vec<IpAddr>, Unavailable>> {
        let address = |data: &RData| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        Box::pin(self.records(absolute(name), kind, address))
    }

    fn names(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, Unavailable>> {
        let name = |data: &RData| match data {
            RData::PTR(ptr) => Some(written(&ptr.0)),
            _ => None,
        };
        Box::pin(self.records(Some(Name::from(ip.to_canonical())), RecordType::PTR, name))
    }
}

/// Search domains never apply.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Without the final dot.
fn written(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsSettings;
    use crate::dns::pulse::SILENT;
    use std::{net::UdpSocket, time::Instant};

    #[test]
    fn what_cannot_be_a_name_is_not_asked_for() {
        for name in ["a..example", &"x".repeat(64), &"a.".repeat(130)] {
            assert_eq!(absolute(name), None, "{name}");
        }
        assert!(absolute("mail").unwrap().is_fqdn());
    }

    #[tokio::test]
    async fn servers_that_say_nothing_are_waited_for_a_few_times_only() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let settings = DnsSettings { servers: vec![silent.local_addr().unwrap()], trust_anchor: None };
        let dns = Dns::new(settings).unwrap();
        ask_in_vain(&dns).await;
        let before = Instant::now();
        assert_eq!(dns.txt("one.more.example").await, Err(Unavailable));
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    }

    #[tokio::test]
    async fn silence_of_strangers_servers_keeps_nobody_else_from_being_asked_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let settings = DnsSettings { servers: vec![socket.local_addr().unwrap()], trust_anchor: None };
        let dns = Dns::new(settings).unwrap();
        // Silent about every name but the root's and the last one's. It ends with that.
        let server = std::thread::spawn(move || {
            let mut packet = [0; 1500];
            loop {
                let (len, from) = socket.recv_from(&mut packet).unwrap();
                let is_last = packet[..len].windows(5).any(|part| part == b"\x04last");
                if packet[12] == 0 || is_last {
                    // RFC 1035 §4.1.1: an answer that refuses.
                    packet[2] |= 0x80;
                    packet[3] = 5;
                    socket.send_to(&packet[..len], from).unwrap();
                }
                if is_last {
                    break;
                }
            }
        });
        ask_in_vain(&dns).await;
        assert!(dns.checks_resolver().is_some());
        assert_eq!(dns.txt("last.example").await, Err(Unavailable));
        server.join().unwrap();
    }

    async fn ask_in_vain(dns: &Dns) {
        let names: Vec<String> = (0..SILENT).map(|n| format!("n{n}.example")).collect();
        let asked = names.iter().map(|name| dns.txt(name));
        for answer in futures_in_turn(asked).await {
            assert_eq!(answer, Err(Unavailable));
        }
    }

    /// At once, the answers in order.
    async fn futures_in_turn<T: Send + 'static>(asked: impl Iterator<Item = BoxFuture<'_, T>>) -> Vec<T> {
        let mut waiting: Vec<_> = asked.map(|future| (future, None)).collect();
        std::future::poll_fn(|context| {
            for (future, answer) in &mut waiting {
                if answer.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
                {
                    *answer = Some(value);
                }
            }
            match waiting.iter().all(|(_, answer)| answer.is_some()) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        waiting.into_iter().filter_map(|(_, answer)| answer).collect()
    }
}
