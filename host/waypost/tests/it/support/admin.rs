//! The admin interface, asked in plain HTTP.

use super::gateway::Home;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

/// Where it is, and its token.
pub fn admin(home: &Home) -> (SocketAddr, String) {
    let run: serde_json::Value = serde_json::from_slice(&fs::read(home.path("data/run.json")).unwrap()).unwrap();
    let token = fs::read_to_string(home.path("data/admin-token")).unwrap();
    (run["admin"].as_str().unwrap().parse().unwrap(), token.trim().to_owned())
}

/// The whole answer, status line first.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> String {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    ask(address, &format!("GET {path}"), &format!("Host: {address}\r\n{authorization}"))
}

/// With these headers and no others that matter.
pub fn ask(address: SocketAddr, what: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{what} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub fn metrics(home: &Home) -> String {
    let (address, token) = admin(home);
    get(address, "/metrics", Some(&token))
}
