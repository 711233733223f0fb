//! A name server that does what a test says: answers, late ones, failures, silence. Records what it is asked.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Answers,
    /// Each answer takes so long.
    Late(Duration),
    /// SERVFAIL to everything.
    Fails,
    Silent,
}

/// What is at a name.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    Txt(&'a str),
    A([u8; 4]),
    Ptr(&'a str),
}

struct Script {
    mood: Mood,
    /// By name, without the final dot, and type; what is not here does not exist.
    records: HashMap<(String, u16), Vec<u8>>,
    asked: Vec<String>,
    stopped: bool,
}

pub struct ScriptedDns {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    serving: Option<JoinHandle<()>>,
}

impl ScriptedDns {
    pub fn start(mood: Mood, records: &[(&str, Record<'_>)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let records = records.iter().map(|(name, record)| (((*name).to_owned(), record.kind()), record.data()));
        let records = records.collect();
        let script = Arc::new(Mutex::new(Script { mood, records, asked: Vec::new(), stopped: false }));
        let serving = std::thread::spawn({
            let script = script.clone();
            move || serve(&socket, &script)
        });
        Self { address, script, serving: Some(serving) }
    }

    /// The `[dns]` table of a gateway that asks this server.
    pub fn settings(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\n", self.address)
    }

    pub fn set(&self, mood: Mood) {
        self.script.lock().unwrap().mood = mood;
    }

    /// Names, in order.
    pub fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }
}

impl Drop for ScriptedDns {
    fn drop(&mut self) {
        self.script.lock().unwrap().stopped = true;
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.address));
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

fn serve(socket: &UdpSocket, script: &Mutex<Script>) {
    let mut late = Vec::new();
    let mut question = [0; 1500];
    while let Ok((len, from)) = socket.recv_from(&mut question) {
        let mut script = script.lock().unwrap();
        if script.stopped {
            break;
        }
        let Some(asked) = asked(&question[..len]) else { continue };
        script.asked.push(asked.0.clone());
        let record = script.records.get(&asked).map(Vec::as_slice);
        let (answer, delay) = match script.mood {
            Mood::Silent => continue,
            Mood::Fails => (answer(&question[..len], &asked, 2, None), Duration::ZERO),
            Mood::Answers => (answer(&question[..len], &asked, 0, record), Duration::ZERO),
            Mood::Late(delay) => (answer(&question[..len], &asked, 0, record), delay),
        };
        drop(script);
        let socket = socket.try_clone().unwrap();
        let send = move || drop(socket.send_to(&answer, from));
        if delay.is_zero() {
            send();
        } else {
            late.push(std::thread::spawn(move || {
                std::thread::sleep(delay);
                send();
            }));
        }
    }
    late.into_iter().for_each(|thread| drop(thread.join()));
}

impl Record<'_> {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Ptr(_) => 12,
            Self::Txt(_) => 16,
        }
    }

    fn data(&self) -> Vec<u8> {
        let string = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        match self {
            Self::A(address) => address.to_vec(),
            Self::Ptr(name) => name.split('.').chain([""]).flat_map(string).collect(),
            Self::Txt(text) => string(text),
        }
    }
}

/// The name in lower case, and the type.
fn asked(packet: &[u8]) -> Option<(String, u16)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let len = *packet.get(at)? as usize;
        if len == 0 {
            let kind = packet.get(at + 1..at + 3)?;
            return Some((labels.join("."), u16::from_be_bytes([kind[0], kind[1]])));
        }
        labels.push(String::from_utf8_lossy(packet.get(at + 1..=at + len)?).to_lowercase());
        at += len + 1;
    }
}

/// RFC 1035 §4.1: one record, or that there is none.
fn answer(packet: &[u8], (name, kind): &(String, u16), code: u8, record: Option<&[u8]>) -> Vec<u8> {
    let end = 12 + name.len() + 2 + 4;
    let code = if record.is_none() && code == 0 { 3 } else { code };
    let mut out = vec![packet[0], packet[1], 0x85, 0x80 | code, 0, 1, 0, u8::from(record.is_some()), 0, 0, 0, 0];
    out.extend_from_slice(&packet[12..end]);
    if let Some(data) = record {
        // The name again, the type, IN, a TTL of 0: each mail asks anew.
        out.extend_from_slice(&[0xc0, 12, 0, *kind as u8, 0, 1, 0, 0, 0, 0]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}
