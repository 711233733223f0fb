//! What a guest prints becomes log lines at debug, bounded in number and length.

use crate::state::Lines;
use bytes::Bytes;
use mail::Domain;
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Bytes of a line; a longer one is cut into several.
const MAX_LINE: usize = 1000;

#[derive(Clone)]
pub(crate) struct Printed(Arc<Inner>);

struct Inner {
    plugin: Arc<str>,
    domain: Domain,
    lines: Arc<Lines>,
    /// What has no line end yet.
    pending: Mutex<Vec<u8>>,
}

impl Printed {
    pub(crate) fn new(plugin: Arc<str>, domain: Domain, lines: Arc<Lines>) -> Self {
        Self(Arc::new(Inner { plugin, domain, lines, pending: Mutex::default() }))
    }

    fn print(&self, bytes: &[u8]) {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|b| *b == b'\n').flat_map(|line| line.chunks(MAX_LINE)) {
            pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") || pending.len() >= MAX_LINE {
                let line = std::mem::take(&mut *pending);
                if self.0.lines.take() {
                    let text = crate::imports::printable(String::from_utf8_lossy(&line).trim_end());
                    tracing::debug!(target: "plugin", plugin = &*self.0.plugin, domain = %self.0.domain, printed = text);
                }
            }
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
