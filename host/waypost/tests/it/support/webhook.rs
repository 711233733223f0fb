//! A web server that takes alerts, or refuses them, and records what it was sent: plain blocking Rust.

use super::until;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// A request as it came, with what it was answered.
#[derive(Clone, Debug)]
pub struct Posted {
    /// In lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub status: u16,
}

impl Posted {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
    pub fn event(&self) -> String {
        self.json()["event"].as_str().expect("an event").to_owned()
    }
}

pub struct Webhook {
    pub address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

/// In place of a status: the connection is kept open without an answer.
pub const HANG: u16 = 0;

impl Webhook {
    /// Gives these answers in turn, then 204.
    pub fn start(answers: &[u16]) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), answers)
    }

    pub fn start_at(address: SocketAddr, answers: &[u16]) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("bound");
        let (posted, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let mut answers = Vec::from(answers).into_iter();
        let serving = std::thread::spawn({
            let (posted, stop) = (posted.clone(), stop.clone());
            move || {
                let mut hanging = Vec::new();
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let status = answers.next().unwrap_or(204);
                    if serve(&stream, status, &posted).is_ok() && status == HANG {
                        hanging.push(stream);
                    }
                }
            }
        });
        Self { address, posted, stop, serving: Some(serving) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/alerts", self.address)
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("lock").clone()
    }

    pub fn accepted(&self) -> Vec<Posted> {
        self.posted().into_iter().filter(|posted| posted.status == 204).collect()
    }

    pub fn events(&self) -> Vec<String> {
        self.accepted().iter().map(Posted::event).collect()
    }

    /// The same for who ignores what came before with the same id: a crash may send that twice.
    pub fn told(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let new = |posted: &Posted| seen.insert(posted.headers["webhook-id"].clone());
        self.accepted().into_iter().filter(new).map(|posted| posted.event()).collect()
    }

    /// Waits until so many alerts were accepted.
    pub fn wait(&self, count: usize) -> Vec<Posted> {
        until(&format!("{count} accepted alerts"), || (self.accepted().len() >= count).then(|| self.accepted()))
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

fn serve(stream: &TcpStream, status: u16, posted: &Mutex<Vec<Posted>>) -> std::io::Result<()> {
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line)?;
    if !line.starts_with("POST ") {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    // Recorded before the answer: who has seen the answer finds it.
    posted.lock().expect("lock").push(Posted { headers, body, status });
    if status != HANG {
        let mut output = stream;
        write!(output, "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}
