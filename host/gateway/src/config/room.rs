//! Reads how much memory and disk mail may take: keys of `waypost.toml` beside the others.

use crate::disk::Watermarks;
use toml_keys::Table;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In bytes, at once, in intake and on the way out.
    pub max_mail_in_memory: u64,
    /// Of one mail's data that is coming in; what is more goes to a file. In bytes.
    pub spool_threshold: u64,
    pub watermarks: Watermarks,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            max_mail_in_memory: 512 * MIB,
            spool_threshold: 256 * KIB,
            watermarks: Watermarks { space: 256 * MIB, inodes: 1000 },
        }
    }
}

pub(super) fn read(root: &mut Table<'_>, max_message_size: u64) -> Room {
    let default = Room::default();
    let memory = root.get("max-mail-in-memory");
    let max_mail_in_memory = memory.as_ref().and_then(|v| v.size(MIB..=TIB, "\"512 MiB\""));
    let max_mail_in_memory = max_mail_in_memory.unwrap_or(default.max_mail_in_memory);
    // A large mail is judged in memory, in the half of it that is for mail from disk.
    if max_message_size > max_mail_in_memory / 2 {
        let message = "`max-mail-in-memory` is less than twice `max-message-size`: the largest mail would find no room";
        let hint = format!("give it at least {} MiB", (2 * max_message_size).div_ceil(MIB));
        match &memory {
            Some(value) => value.error(message, hint),
            None => root.error(message.to_owned(), hint),
        }
    }
    Room {
        max_mail_in_memory,
        spool_threshold: root
            .get("spool-threshold")
            .and_then(|v| v.size(16 * KIB..=64 * MIB, "\"256 KiB\""))
            .unwrap_or(default.spool_threshold),
        watermarks: Watermarks {
            space: root
                .get("min-free-space")
                .and_then(|v| v.size(0..=1024 * TIB, "\"256 MiB\""))
                .unwrap_or(default.watermarks.space),
            inodes: root
                .get("min-free-inodes")
                .and_then(|v| v.whole_number(0..=i64::MAX, "1000"))
                .map_or(default.watermarks.inodes, i64::unsigned_abs),
        },
    }
}
