//! Mail data: what DATA and BDAT are answered, and what becomes of their bytes.
//!
//! Never loses count of what belongs to a mail: the data of a refused one is read to its end and
//! dropped, and is not taken for commands.

use super::{Chunk, Mode, Question, Server, ServerEvent, Transaction};
use crate::text::{ChunkText, DataText, Fault, Piece};
use bytes::Buf;
use mail::Reply;

impl Server {
    pub(super) fn start_data(&mut self) {
        match self.transaction() {
            Some(Transaction { recipients: 0, .. }) | None => self.refuse_data(NO_RECIPIENTS, true),
            Some(Transaction { chunks: Some(_), .. }) => {
                // RFC 3030 §2: what the transaction is after this mix-up is indeterminate; it ends.
                self.abort();
                self.refuse_data(MIXED, true);
            }
            Some(_) => self.ask(Question::Data, ServerEvent::DataStart),
        }
    }

    pub(super) fn data_answered(&mut self, reply: Reply) {
        if reply.is_intermediate() || reply.is_positive() {
            self.reply(if reply.is_intermediate() { reply } else { START_DATA });
            self.mode = Mode::Data(DataText::new(self.config.max_message_size, self.config.bare_line_ends));
        } else {
            self.leave_transaction();
            self.refuse_data(reply, false);
        }
    }

    /// DATA ends a pipelined group (RFC 2920 §3.1), so bytes behind a refused one are data that
    /// nobody asked for. Run as commands they would be an injection: the session ends.
    pub(super) fn refuse_data(&mut self, reply: Reply, is_error: bool) {
        let is_out_of_turn = !self.input.is_empty();
        match is_error {
            true => self.reply_error(reply),
            false => self.reply_or_close(reply),
        }
        if is_out_of_turn && !matches!(self.mode, Mode::Ended) {
            self.end_with(OUT_OF_TURN_DATA);
        }
    }

    pub(super) fn data(&mut self) -> bool {
        let Mode::Data(text) = &mut self.mode else { return false };
        match text.next(&mut self.input) {
            Piece::NeedsInput => return false,
            Piece::Body(bytes) => self.events.push_back(ServerEvent::Body(bytes)),
            Piece::Fault(_) => self.abort(),
            Piece::End => {
                let (fault, size) = (text.fault(), text.size());
                self.transcript.data(size);
                self.mode = Mode::Commands;
                match fault {
                    None => self.ask(Question::EndOfMessage, ServerEvent::EndOfMessage),
                    Some(fault) => self.reply(refusal(fault)),
                }
            }
        }
        true
    }

    /// A BDAT command with a size that can be read. Its bytes follow whatever the answer is.
    pub(super) fn start_chunk(&mut self, chunk: Chunk) {
        let (limit, bare) = (self.config.max_message_size, self.config.bare_line_ends);
        match self.transaction() {
            None | Some(Transaction { recipients: 0, .. }) => {
                // After a chunk that failed, the rest of its mail ends here too (RFC 3030 §2).
                self.mode = Mode::RefusedChunk { left: chunk.size, reply: NO_TRANSACTION };
            }
            Some(Transaction { chunks: Some(_), .. }) => self.mode = Mode::Chunk { left: chunk.size, chunk },
            Some(transaction) => {
                transaction.chunks = Some(ChunkText::new(limit, bare));
                self.ask(Question::FirstChunk(chunk), ServerEvent::DataStart);
            }
        }
    }

    pub(super) fn first_chunk_answered(&mut self, chunk: Chunk, reply: Reply) {
        if reply.is_intermediate() || reply.is_positive() {
            self.mode = Mode::Chunk { left: chunk.size, chunk };
        } else if reply.code == 421 {
            self.leave_transaction();
            self.end_with(reply);
        } else {
            self.leave_transaction();
            self.mode = Mode::RefusedChunk { left: chunk.size, reply };
        }
    }

    pub(super) fn chunk(&mut self) -> bool {
        let Self { mode: Mode::Chunk { left, chunk }, state, input, .. } = self else { return false };
        let super::State::Collecting { transaction: Transaction { chunks: Some(text), .. }, .. } = state else {
            return false;
        };
        let chunk = *chunk;
        match text.next(input, left) {
            Piece::NeedsInput => return false,
            Piece::Body(bytes) => self.events.push_back(ServerEvent::Body(bytes)),
            Piece::Fault(fault) => {
                let left = *left;
                self.mode = Mode::RefusedChunk { left, reply: refusal(fault) };
                self.abort();
            }
            Piece::End => {
                let end = text.finish();
                self.end_chunk(chunk, end);
            }
        }
        true
    }

    fn end_chunk(&mut self, chunk: Chunk, end: Result<Option<bytes::Bytes>, Fault>) {
        self.transcript.data(chunk.size);
        self.mode = Mode::Commands;
        match end {
            _ if !chunk.last => {
                self.reply(Reply::new(250, (2, 0, 0), format!("{} octets received", chunk.size)));
            }
            Err(fault) => {
                self.abort();
                self.reply(refusal(fault));
            }
            Ok(line_end) => {
                self.events.extend(line_end.map(ServerEvent::Body));
                self.ask(Question::EndOfMessage, ServerEvent::EndOfMessage);
            }
        }
    }

    pub(super) fn refused_chunk(&mut self) -> bool {
        let Mode::RefusedChunk { left, reply } = &mut self.mode else { return false };
        let dropped = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
        self.input.advance(dropped);
        *left -= dropped as u64;
        if *left > 0 {
            return false;
        }
        let reply = reply.clone();
        self.mode = Mode::Commands;
        match reply.code {
            503 => self.reply_error(reply),
            _ => self.reply_or_close(reply),
        }
        true
    }
}

fn refusal(fault: Fault) -> Reply {
    match fault {
        Fault::BareLineEnd => Reply::fixed(550, (5, 6, 0), "A line of the message ends with a bare CR or LF"),
        Fault::Nul => Reply::fixed(550, (5, 6, 0), "The message holds a NUL octet"),
        Fault::TooLarge => Reply::fixed(552, (5, 3, 4), "The message is too large"),
    }
}

const START_DATA: Reply =
    Reply { code: 354, enhanced: None, text: std::borrow::Cow::Borrowed("End data with <CR><LF>.<CR><LF>") };
const NO_RECIPIENTS: Reply = Reply::fixed(554, (5, 5, 1), "No valid recipients");
const MIXED: Reply = Reply::fixed(503, (5, 5, 1), "DATA and BDAT do not mix; the transaction is over");
const NO_TRANSACTION: Reply = Reply::fixed(503, (5, 5, 1), "No transaction with recipients for this chunk");
const OUT_OF_TURN_DATA: Reply = Reply::fixed(421, (4, 7, 0), "Data sent without waiting for the reply to DATA");
