//! One recipient's place in the index, as small as it can be.

use crate::model::State;
use mail::Timestamp;

/// Nearly every mail has one recipient.
pub(super) enum Slots {
    One(Slot),
    Many(Box<SlotList>),
}

/// Behind a thin pointer, so that an entry stays small.
pub(super) struct SlotList(Box<[Slot]>);

#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// `Timestamp::NEVER` waits for a person.
    pub(super) due: Timestamp,
    /// One more than the number of the next hop that it waits for; 0 is none.
    pub(super) hop: u32,
    /// None is done.
    pub(super) state: Option<State>,
}

impl Slot {
    pub(super) fn in_due_order(&self) -> bool {
        self.due != Timestamp::NEVER && self.state.is_some_and(|s| s != State::Claimed)
    }
    /// A claimed recipient isn't woken: its attempt will say what becomes of it.
    pub(super) fn waits_for(&self) -> Option<u32> {
        self.hop.checked_sub(1).filter(|_| self.state.is_some_and(|s| s != State::Claimed))
    }
}

impl Slots {
    /// All alike.
    pub(super) fn new(slot: Slot, recipients: u32) -> Self {
        match recipients {
            1 => Self::One(slot),
            n => Self::Many(Box::new(SlotList(vec![slot; n as usize].into()))),
        }
    }
    pub(super) fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(list) => &list.0,
        }
    }
    pub(super) fn as_mut_slice(&mut self) -> &mut [Slot] {
        match self {
            Self::One(slot) => std::slice::from_mut(slot),
            Self::Many(list) => &mut list.0,
        }
    }
}
