// SPDX-License-Identifier: GPL-2.0

//! [`PushReason`] says why a ring did not take a request, and [`Broken`] why it is broken.

use core::fmt;

/// Why a ring is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The used index runs ahead of what was made available, or backwards.
    UsedIndex,

    /// The id of a used element is no descriptor.
    IdOutOfRange,

    /// The id of a used element belongs to no request that the device was given.
    IdNotInFlight,

    /// The id of a used element was used before and not made available since.
    IdUsedTwice,

    /// The device claims to have written more than the request's writable segments hold.
    Length,

    /// The ring refused a request although the owner had checked it: a bug of the owner.
    Rejected,

    /// The owner saw `DEVICE_NEEDS_RESET`.
    NeedsReset,

    /// The owner has reset the device, or lost it.
    Reset,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsedIndex => "used index ahead of the requests in flight",
            Self::IdOutOfRange => "used id out of range",
            Self::IdNotInFlight => "used id not in flight",
            Self::IdUsedTwice => "used id used twice",
            Self::Length => "used length exceeds the writable segments",
            Self::Rejected => "a request was not taken",
            Self::NeedsReset => "device needs reset",
            Self::Reset => "device was reset",
        })
    }
}

/// Why [`Ring::push`](super::Ring::push) did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushReason {
    /// Too few descriptors are free now; some are freed by each [`Ring::pop`](super::Ring::pop).
    NoRoom,

    /// The ring is broken.
    Broken(Broken),

    /// The request has no device-readable segment.
    NoSegments,

    /// The request has more than [`Config::max_segments`](super::Config::max_segments) segments.
    TooManySegments,

    /// A segment is empty, or wraps around the end of the address space.
    BadSegment,

    /// The segments together are longer than fits into a used length, which has 32 bits.
    TooLong,
}

/// A request that [`Ring::push`](super::Ring::push) did not take, handed back.
#[derive(Debug)]
pub(crate) struct PushError<R> {
    /// Why. Only tests read it: for the driver each is a bug of its own.
    #[allow(dead_code)]
    pub(crate) reason: PushReason,

    /// The request.
    pub(crate) request: R,
}
