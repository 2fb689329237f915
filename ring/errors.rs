// SPDX-License-Identifier: GPL-2.0

//! Why a ring does not take a request, or takes part in nothing any more.

use core::fmt;

/// Why a ring takes part in nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// The used index runs ahead of what was made available, or backwards.
    UsedIndex,

    /// The id of a used element is no descriptor.
    IdOutOfRange,

    /// The id of a used element belongs to no request that the device was given.
    IdNotInFlight,

    /// The id of a used element was used before and not made available since.
    IdUsedTwice,

    /// The device claims to have written more than the request's writable parts hold.
    Length,

    /// The ring did not take a request that its owner had room for: a bug of the owner.
    Rejected,

    /// The owner saw `DEVICE_NEEDS_RESET`.
    NeedsReset,

    /// The owner has reset the device, or lost it.
    Reset,
}

impl Poison {
    /// Returns what to print.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::UsedIndex => "used index ahead of the requests in flight",
            Self::IdOutOfRange => "used id out of range",
            Self::IdNotInFlight => "used id not in flight",
            Self::IdUsedTwice => "used id used twice",
            Self::Length => "used length exceeds the writable parts",
            Self::Rejected => "a request was not taken",
            Self::NeedsReset => "device needs reset",
            Self::Reset => "device was reset",
        }
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why [`Ring::push`](super::Ring::push) did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushReason {
    /// Too few free descriptors for now; some come free with each [`Ring::pop`](super::Ring::pop).
    NoRoom,

    /// The ring is poisoned.
    Poisoned(Poison),

    /// The request has no device-readable part.
    NoParts,

    /// The request has more than [`Config::max_parts`](super::Config::max_parts) parts.
    TooManyParts,

    /// A part is empty, or wraps around the end of the address space.
    BadPart,

    /// All parts together are longer than the 32 bits of a used length can say.
    TooLong,
}

impl PushReason {
    /// Returns what to print.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoRoom => "no room in the queue",
            Self::Poisoned(poison) => poison.text(),
            Self::NoParts => "request without a readable part",
            Self::TooManyParts => "request with too many parts",
            Self::BadPart => "request with a part that is empty or wraps around",
            Self::TooLong => "request longer than 4 GiB",
        }
    }
}

impl fmt::Display for PushReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A request that [`Ring::push`](super::Ring::push) did not take, handed back.
#[derive(Debug)]
pub(crate) struct PushError<R> {
    /// Why. For tests: the driver tries again, or finds the ring poisoned.
    #[allow(dead_code)]
    pub(crate) reason: PushReason,

    /// The request.
    pub(crate) request: R,
}
