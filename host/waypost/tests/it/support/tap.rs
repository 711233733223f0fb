//! Stands between two that speak SMTP, and keeps every byte that the one who connects has sent.

use super::next_hop::free_address;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Listens as long as the test runs.
pub struct Tap {
    pub address: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    pub fn before(server: SocketAddr) -> Self {
        let socket = TcpListener::bind(free_address()).expect("the port is free");
        let (address, sent) = (socket.local_addr().expect("bound"), Arc::default());
        let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::clone(&sent);
        std::thread::spawn(move || {
            for client in socket.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let number = {
                    let mut kept = kept.lock().expect("lock");
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let back = (server.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
                std::thread::spawn(move || pass(back.0, back.1, |_| {}));
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    pass(client, server, |bytes| kept.lock().expect("lock")[number].extend_from_slice(bytes));
                });
            }
        });
        Self { address, sent }
    }

    /// Of each connection.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().expect("lock").clone()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
