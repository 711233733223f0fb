//! Moves bytes between a next hop and the protocol, until something has come of it or the time is over.
//!
//! Knows nothing of what they mean.

use super::{Connection, Limit, Of, Stream};
use bytes::Buf;
use mail::{Failure, FailureKind};
use smtp::Client;
use std::{future::poll_fn, io, pin::Pin, task::Poll};
use tokio::{io::AsyncWrite, time::timeout_at};

impl Connection {
    /// Writes and reads what can be, both at once: a next hop may answer before it has read
    /// everything. What goes wrong comes out of the client as an event.
    pub(super) async fn step(&mut self, limit: Limit) {
        let Self { stream, client, hop, .. } = self;
        match timeout_at(limit.until, poll_fn(|cx| poll_step(stream, client, cx))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(next_hop = %hop, %error, "connection broke");
                client.eof();
            }
            Err(_) => {
                let waited = match limit.of {
                    Of::Wait => "waited",
                    Of::WholeMail => "the mail took its time: after",
                };
                let detail = format!("{waited} {} s for {}", limit.granted.as_secs(), client.waits_for());
                client.close_with(Failure::new(FailureKind::Timeout, Some(hop), detail));
            }
        }
    }
}

/// An error is told only once nothing is left to read: the last reply may say why.
fn poll_step(stream: &mut Stream, client: &mut Client, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
    let mut broken = None;
    let mut wrote = false;
    loop {
        let output = client.output();
        if output.is_empty() {
            break;
        }
        match Pin::new(&mut *stream).poll_write(cx, output) {
            Poll::Ready(Ok(written)) => {
                output.advance(written);
                wrote = true;
            }
            Poll::Ready(Err(error)) => {
                broken = Some(error);
                break;
            }
            Poll::Pending => break,
        }
    }
    if wrote && let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(cx) {
        broken = Some(error);
    }
    client.input().reserve(4096);
    match tokio_util::io::poll_read_buf(Pin::new(stream), cx, client.input()) {
        Poll::Ready(Ok(0)) => {
            client.eof();
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(broken.unwrap_or(error))),
        // What has been written is progress: the time starts anew for what the client waits for now.
        Poll::Pending if wrote && broken.is_none() => Poll::Ready(Ok(())),
        Poll::Pending => broken.map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
    }
}
