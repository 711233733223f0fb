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

struct Script {
    mood: Mood,
    /// TXT records by name, without the final dot; what is not here does not exist.
    texts: HashMap<String, String>,
    asked: Vec<String>,
    stopped: bool,
}

pub struct ScriptedDns {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    serving: Option<JoinHandle<()>>,
}

impl ScriptedDns {
    pub fn start(mood: Mood, texts: &[(&str, &str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let script = Arc::new(Mutex::new(Script { mood, texts, asked: Vec::new(), stopped: false }));
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
        let Some(name) = name(&question[..len]) else { continue };
        script.asked.push(name.clone());
        let text = script.texts.get(&name).map(String::as_str);
        let (answer, delay) = match script.mood {
            Mood::Silent => continue,
            Mood::Fails => (answer(&question[..len], &name, 2, None), Duration::ZERO),
            Mood::Answers => (answer(&question[..len], &name, 0, text), Duration::ZERO),
            Mood::Late(delay) => (answer(&question[..len], &name, 0, text), delay),
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

/// Of the question, in lower case.
fn name(packet: &[u8]) -> Option<String> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let len = *packet.get(at)? as usize;
        if len == 0 {
            return Some(labels.join("."));
        }
        labels.push(String::from_utf8_lossy(packet.get(at + 1..=at + len)?).to_lowercase());
        at += len + 1;
    }
}

/// RFC 1035 §4.1: one TXT record to a question for it, or none.
fn answer(packet: &[u8], name: &str, code: u8, text: Option<&str>) -> Vec<u8> {
    let end = 12 + name.len() + 2 + 4;
    let asks_txt = packet[end - 4..end - 2] == [0, 16];
    let text = text.filter(|_| asks_txt && code == 0);
    let code = if text.is_none() && code == 0 { 3 } else { code };
    let mut out = vec![packet[0], packet[1], 0x85, 0x80 | code, 0, 1, 0, u8::from(text.is_some()), 0, 0, 0, 0];
    out.extend_from_slice(&packet[12..end]);
    if let Some(text) = text {
        // The name again, TXT, IN, a TTL of 0: each mail asks anew.
        out.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0]);
        let len = text.len() as u16;
        out.extend_from_slice(&(len + 1).to_be_bytes());
        out.push(len as u8);
        out.extend_from_slice(text.as_bytes());
    }
    out
}
