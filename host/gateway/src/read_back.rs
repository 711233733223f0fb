//! Mail that is read back from disk into memory: it waits its turn, and no domain has more than its share.
//!
//! What was read takes its room for as long as any of its bytes is kept, by whomever.

use bytes::Bytes;
use mail::{BoxFuture, Content, ContentSource, Domain, OpenContent};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the room, for one domain: one over the other it could be late, but never alone.
const SHARES: u32 = 4;
/// Domains that are remembered without looking whether they have mail here.
const MANY: usize = 1000;

/// Turns are taken in the order in which they were asked for, so a large mail is not passed by small ones for ever.
#[derive(Debug)]
pub struct ReadBack {
    kib: u32,
    all: Arc<Semaphore>,
    domains: Mutex<HashMap<Domain, Arc<Semaphore>>>,
}

/// Room for one mail; given back when dropped.
#[derive(Debug)]
pub struct Room {
    _of_domain: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl ReadBack {
    pub fn new(bytes: u64) -> Self {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(SHARES, Semaphore::MAX_PERMITS as u32);
        Self { kib, all: Arc::new(Semaphore::new(kib as usize)), domains: Mutex::default() }
    }

    /// In bytes.
    pub fn used(&self) -> u64 {
        u64::from(self.kib).saturating_sub(self.all.available_permits() as u64) * 1024
    }

    /// A mail that is larger than all the room has all of it.
    pub async fn room(&self, domain: &Domain, bytes: u64) -> io::Result<Room> {
        let wanted = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.kib);
        let of_domain = self.of_domain(domain).acquire_many_owned(wanted.min(self.share())).await;
        let of_all = self.all.clone().acquire_many_owned(wanted).await;
        Ok(Room { _of_domain: of_domain.map_err(io::Error::other)?, _of_all: of_all.map_err(io::Error::other)? })
    }

    /// As `room`, and the mail in it.
    pub async fn load(&self, source: Arc<dyn ContentSource>, domain: &Domain) -> io::Result<Content> {
        let room = self.room(domain, source.len()).await?;
        let content = source.fetch().await?;
        Ok(Arc::new(room).hold(&content))
    }

    fn share(&self) -> u32 {
        self.kib / SHARES
    }

    fn of_domain(&self, domain: &Domain) -> Arc<Semaphore> {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if domains.len() > MANY {
            domains.retain(|_, used| Arc::strong_count(used) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.share() as usize));
        domains.entry(domain.clone()).or_insert_with(new).clone()
    }
}

/// A mail whose plugins may ask for its content: they get it in its turn, as everybody.
pub struct InTurn {
    pub source: Arc<dyn ContentSource>,
    pub domain: Domain,
    pub read_back: Arc<ReadBack>,
}

impl ContentSource for InTurn {
    fn len(&self) -> u64 {
        self.source.len()
    }
    fn in_memory(&self) -> Option<Content> {
        self.source.in_memory()
    }
    fn load(&self) -> io::Result<Content> {
        self.source.load()
    }
    fn fetch(self: Arc<Self>) -> BoxFuture<'static, io::Result<Content>> {
        Box::pin(async move { self.read_back.load(self.source.clone(), &self.domain).await })
    }
    fn open(&self) -> io::Result<Arc<dyn OpenContent>> {
        self.source.open()
    }
}

impl Room {
    /// The content, which keeps the room for as long as it lives.
    pub fn hold(self: Arc<Self>, content: &Content) -> Content {
        struct Held {
            bytes: Bytes,
            _room: Arc<Room>,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        let held = |bytes: &Bytes| Bytes::from_owner(Held { bytes: bytes.clone(), _room: self.clone() });
        Content::from_parts(held(content.header()), held(content.body()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    fn domain(name: &str) -> Domain {
        name.parse().unwrap()
    }

    /// Whether it would have to wait.
    fn waits(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn one_domain_cannot_take_the_room_of_others() {
        let back = ReadBack::new(4 << 20);
        let (a, b) = (domain("a.example"), domain("b.example"));
        let mail = Content::new(vec![b'x'; 700 << 10].into());
        let first = back.load(Arc::new(mail), &a).await.unwrap();
        assert!(waits(back.room(&a, 700 << 10)), "over a's share");
        let other = back.room(&b, 700 << 10).await.unwrap();
        assert_eq!(back.used(), 1402 << 10);
        let kept = first.body().slice(..1);
        drop((first, other));
        assert_eq!(back.used(), 701 << 10, "a byte of it is kept");
        drop(kept);
        assert_eq!(back.used(), 0);
    }

    #[tokio::test]
    async fn what_plugins_ask_for_of_mail_on_disk_is_counted_and_what_is_in_memory_is_not_twice() {
        let read_back = Arc::new(ReadBack::new(4 << 20));
        let source = Arc::new(Content::new(vec![b'x'; 100 << 10].into()));
        let mail = Arc::new(InTurn { source, domain: domain("a.example"), read_back: read_back.clone() });
        assert!(mail.in_memory().is_some());
        assert_eq!(read_back.used(), 0);
        let fetched = mail.clone().fetch().await.unwrap();
        assert_eq!((fetched.len() as u64, read_back.used()), (mail.len(), 101 << 10));
        drop(fetched);
        assert_eq!(read_back.used(), 0);
    }

    #[tokio::test]
    async fn a_large_mail_has_its_turn_before_small_ones_that_came_later() {
        let back = ReadBack::new(4 << 20);
        let (a, b, c) = (domain("a.example"), domain("b.example"), domain("c.example"));
        let small = back.room(&a, 1000).await.unwrap();
        let mut large = pin!(back.room(&b, 5 << 20));
        assert!(waits(large.as_mut()), "not all of it is free");
        assert!(waits(back.room(&c, 1000)), "behind it");
        drop(small);
        drop(large.await.unwrap());
        assert!(back.room(&c, 1000).await.is_ok());
    }
}
