//! Answers for `message`: the mail data, read in ranges, and edits, checked and staged.
//!
//! A plugin reads the mail as it was before its own edits.

use super::{cut, outside};
use crate::{
    bindings::waypost::plugin::{message, types::Error},
    mime::{self, Part, Parts},
    state::State,
    subject::Subject,
};
use bytes::Bytes;
use mail::{Content, Edit, EditError};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const HOOKS: &str = "on-message, on-route and on-offline";
const MAX_EDITS: usize = 256;
/// Bytes that the host works through without giving way: well under a millisecond.
const MAX_AT_ONCE: usize = 256 << 10;

impl State {
    /// From memory, or from the spool at the first use in a delivery hook.
    async fn content(&mut self) -> Result<Content, Error> {
        if let Subject::Message { content, .. } = &self.call.subject {
            return Ok(content.clone());
        }
        if let Some(content) = &self.call.loaded {
            return Ok(content.clone());
        }
        let delivery = self.call.subject.attempt().ok_or_else(|| outside(HOOKS))?;
        if let Some(content) = delivery.content.in_memory() {
            self.call.loaded = Some(content.clone());
            return Ok(content);
        }
        let fetched = Arc::clone(&delivery.content).fetch().await;
        let content = fetched.map_err(|error| Error::Unavailable(format!("the mail cannot be read: {error}")))?;
        self.call.loaded = Some(content.clone());
        Ok(content)
    }

    /// For work that the host does on so many bytes. Over its limit the call has failed, whatever the guest
    /// makes of this answer.
    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        let limit = self.profile.limits.work;
        if self.meter.charge(bytes) {
            return Ok(());
        }
        Err(Error::Limit(format!("the host works through at most {limit} bytes for one call")))
    }

    async fn parts(&mut self) -> Result<Arc<Parts>, Error> {
        if let Some(parts) = &self.call.parts {
            return Ok(Arc::clone(parts));
        }
        let content = self.content().await?;
        let size = content.len();
        self.charge(size)?;
        let parts = Arc::new(aside(size, move || Parts::parse(&content)).await?);
        self.call.parts = Some(Arc::clone(&parts));
        Ok(parts)
    }

    async fn with_part<R>(&mut self, part: u32, read: impl FnOnce(&Part) -> R) -> Option<R> {
        self.parts().await.ok()?.get(part).map(read)
    }

    /// Done once for each part of the mail.
    async fn decode(&mut self, part: u32) -> Result<Bytes, Error> {
        let parts = self.parts().await?;
        let found = parts.get(part).ok_or(Error::NotFound)?;
        if found.is_decoded() {
            return Ok(found.decoded().clone());
        }
        let size = self.charge_part(&parts, part)?;
        aside(size, move || parts.get(part).map(|part| part.decoded().clone())).await?.ok_or(Error::NotFound)
    }

    /// The bytes of a part, which the host is about to work through.
    fn charge_part(&mut self, parts: &Parts, part: u32) -> Result<usize, Error> {
        let size = parts.get(part).ok_or(Error::NotFound)?.size();
        self.charge(size)?;
        Ok(size)
    }

    fn check_len(&self, len: u32) -> Result<usize, Error> {
        let limit = self.profile.limits.host_call_bytes;
        let len = len as usize;
        if len > limit { Err(Error::Limit(format!("one call reads at most {limit} bytes"))) } else { Ok(len) }
    }

    fn stage(&mut self, bytes: usize, edit: impl FnOnce() -> Result<Edit, EditError>) -> Result<(), Error> {
        if !matches!(self.call.subject, Subject::Message { .. }) {
            return Err(outside("on-message"));
        }
        let limit = self.profile.limits.host_call_bytes;
        let staged = &mut self.call.staged;
        if staged.edits.len() >= MAX_EDITS {
            return Err(Error::Limit(format!("one call makes at most {MAX_EDITS} edits")));
        }
        if staged.edit_bytes + bytes > limit {
            return Err(Error::Limit(format!("the edits of one call hold at most {limit} bytes")));
        }
        // When it is applied, the header section, with what was added before, is searched and copied.
        let before = staged.edit_bytes;
        let Subject::Message { content, .. } = &self.call.subject else { return Err(outside("on-message")) };
        let header = content.header().len();
        self.charge(header.saturating_add(before).saturating_add(bytes).saturating_mul(2))?;
        let staged = &mut self.call.staged;
        let edit = edit().map_err(|error| Error::Invalid(error.to_string()))?;
        staged.edit_bytes += bytes;
        staged.edits.push(edit);
        Ok(())
    }
}

impl message::Host for State {
    async fn size(&mut self) -> u64 {
        self.called("message.size");
        match &self.call.subject {
            Subject::Message { content, .. } => content.len() as u64,
            subject => subject.attempt().map_or(0, |delivery| delivery.content.len()),
        }
    }

    async fn header(&mut self, name: String) -> Option<String> {
        self.called("message.header");
        mime::first_header(&self.content().await.ok()?, &name)
    }

    async fn headers(&mut self, name: String) -> Vec<String> {
        self.called("message.headers");
        let Ok(content) = self.content().await else { return Vec::new() };
        content.fields().filter(|field| field.is(&name)).map(|f| mime::decode_field(f.raw, f.value)).collect()
    }

    async fn raw_headers(&mut self) -> Vec<(String, Vec<u8>)> {
        self.called("message.raw-headers");
        let Ok(content) = self.content().await else { return Vec::new() };
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        content.fields().map(|field| (name(field.name), field.value.to_vec())).collect()
    }

    async fn read(&mut self, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        self.called("message.read");
        let len = self.check_len(len)?;
        Ok(self.content().await?.read(offset, len))
    }

    async fn find(&mut self, needle: Vec<u8>, start: u64) -> Option<u64> {
        self.called("message.find");
        let content = self.content().await.ok()?;
        let size = content.len();
        // A search is that much faster than a hash.
        self.charge(size / 4).ok()?;
        let start = usize::try_from(start).ok()?;
        aside(size, move || find(&content, &needle, start)).await.ok()?.map(|at| at as u64)
    }

    async fn sha256(&mut self) -> Vec<u8> {
        self.called("message.sha256");
        let Ok(content) = self.content().await else { return Vec::new() };
        let size = content.len();
        if self.charge(size).is_err() {
            return Vec::new();
        }
        let hash =
            move || Sha256::new().chain_update(content.header()).chain_update(content.body()).finalize().to_vec();
        aside(size, hash).await.unwrap_or_default()
    }

    async fn part_count(&mut self) -> u32 {
        self.called("message.part-count");
        self.parts().await.map_or(0, |parts| parts.len() as u32)
    }

    async fn part_type(&mut self, part: u32) -> Option<String> {
        self.called("message.part-type");
        self.with_part(part, |part| part.media_type.clone()).await
    }

    async fn part_filename(&mut self, part: u32) -> Option<String> {
        self.called("message.part-filename");
        self.with_part(part, |part| part.filename.clone()).await.flatten()
    }

    async fn part_header(&mut self, part: u32, name: String) -> Option<String> {
        self.called("message.part-header");
        self.with_part(part, |part| part.header(&name)).await.flatten()
    }

    async fn part_size(&mut self, part: u32) -> Option<u64> {
        self.called("message.part-size");
        self.decode(part).await.ok().map(|bytes| bytes.len() as u64)
    }

    async fn part_read(&mut self, part: u32, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        self.called("message.part-read");
        let len = self.check_len(len)?;
        let bytes = self.decode(part).await?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        Ok(bytes.slice(start..end).to_vec())
    }

    async fn part_text(&mut self, part: u32, max: u32) -> Result<String, Error> {
        self.called("message.part-text");
        let max = self.check_len(max)?;
        let parts = self.parts().await?;
        let size = self.charge_part(&parts, part)?;
        let read = move || parts.get(part).map(|part| cut(&part.text(), max).to_owned());
        aside(size, read).await?.ok_or(Error::NotFound)
    }

    async fn part_sha256(&mut self, part: u32) -> Result<Vec<u8>, Error> {
        self.called("message.part-sha256");
        let parts = self.parts().await?;
        let size = self.charge_part(&parts, part)?;
        let hash = move || parts.get(part).map(|part| Sha256::digest(part.decoded()).to_vec());
        aside(size, hash).await?.ok_or(Error::NotFound)
    }

    async fn add_header(&mut self, name: String, value: String) -> Result<(), Error> {
        self.called("message.add-header");
        self.stage(name.len() + value.len(), || Edit::add_header(&name, &value))
    }

    async fn set_header(&mut self, name: String, value: String) -> Result<(), Error> {
        self.called("message.set-header");
        self.stage(name.len() + value.len(), || Edit::set_header(&name, &value))
    }

    async fn remove_header(&mut self, name: String) -> Result<(), Error> {
        self.called("message.remove-header");
        self.stage(name.len(), || Edit::remove_header(&name))
    }

    async fn replace_body(&mut self, content_type: String, body: Vec<u8>) -> Result<(), Error> {
        self.called("message.replace-body");
        self.stage(content_type.len() + body.len(), || Edit::replace_body(&content_type, &body))
    }
}

/// Long work must not keep others waiting on this thread.
async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    if bytes <= MAX_AT_ONCE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Other(error.to_string()))
}

/// The first place at or after `start`, across header section and body without joining them.
fn find(content: &Content, needle: &[u8], start: usize) -> Option<usize> {
    let (header, body) = (content.header(), content.body());
    let in_part = |part: &[u8], start: usize| Some(memchr::memmem::find(part.get(start..)?, needle)? + start);
    if let Some(at) = in_part(header, start) {
        return Some(at);
    }
    let overlap = needle.len().saturating_sub(1);
    let seam_start = header.len().saturating_sub(overlap).max(start);
    if start < header.len() && overlap > 0 {
        let seam = content.read(seam_start as u64, header.len() - seam_start + overlap);
        if let Some(at) = memchr::memmem::find(&seam, needle) {
            return Some(seam_start + at);
        }
    }
    Some(in_part(body, start.saturating_sub(header.len()))? + header.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_wherever_it_lies() {
        let mail = b"A: 1\r\nB: 22\r\n\r\nbody 22\r\n";
        let content = Content::new(Bytes::from_static(mail));
        for start in 0..=mail.len() + 1 {
            for from in 0..mail.len() {
                for to in from + 1..=mail.len() {
                    let expected = mail.get(start..).and_then(|rest| memchr::memmem::find(rest, &mail[from..to]));
                    assert_eq!(find(&content, &mail[from..to], start), expected.map(|at| at + start));
                }
            }
        }
        assert_eq!(find(&content, b"absent", 0), None);
    }
}
