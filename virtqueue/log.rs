// SPDX-License-Identifier: GPL-2.0

//! [`CommandLog`] keeps the last commands of a queue and their answers, for the dump of a device
//! that hangs: types, numbers and lengths, but nothing that is in the memory behind them.

use core::fmt;
use kernel::prelude::*;

use crate::{
    command::{
        command_name,
        subject_offset, //
    },
    virtqueue::{
        buffer::CommandBuffer,
        Request,
        Virtqueue, //
    },
};

/// How many commands it keeps.
const LENGTH: usize = 64;

/// Most commands in the ring that a dump lists.
const LISTED: usize = 64;

/// What is known of an answer.
#[derive(Clone, Copy)]
enum Answer {
    /// The device has the command.
    None,
    /// The device was reset before it answered.
    Lost,
    /// The type of the response and how many bytes the device wrote; a type of 0 if it wrote none.
    Some(u32, u32),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no answer"),
            Self::Lost => f.write_str("lost"),
            Self::Some(0, written) => write!(f, "done {written}"),
            Self::Some(kind, written) => write!(f, "{kind:#06x} {written}"),
        }
    }
}

/// A command, as far as it is remembered.
#[derive(Clone, Copy)]
struct Entry {
    fence: u64,
    /// Type of the command.
    kind: u32,
    /// Number of the resource that it is about, or of the scanout.
    subject: u32,
    /// Bytes that the device reads.
    len: u32,
    answer: Answer,
}

impl Entry {
    const EMPTY: Self = Self {
        fence: 0,
        kind: 0,
        subject: 0,
        len: 0,
        answer: Answer::None,
    };

    #[inline]
    fn new(buffer: &CommandBuffer, fence: u64) -> Self {
        let kind = buffer.command_type();
        Self {
            fence,
            kind,
            // What the driver wrote there. The device could have changed it, and that is shown.
            subject: subject_offset(kind).map_or(0, |offset| buffer.request_word(offset)),
            len: buffer.request_len(),
            answer: Answer::None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fence,
            kind,
            subject,
            len,
            ..
        } = self;
        let name = command_name(*kind);
        write!(f, "fence {fence} {kind:#06x} {name} id {subject} len {len}")
    }
}

/// The last commands of a queue.
pub(super) struct CommandLog {
    /// The command with number `n` is at `n % LENGTH`.
    entries: KVec<Entry>,
    /// Number of the next command. Wraps.
    next: u32,
    /// How many answers came since the queue was started.
    answers: u64,
}

impl CommandLog {
    /// Makes an empty log.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new() -> Result<Self> {
        let mut entries = KVec::with_capacity(LENGTH, GFP_KERNEL)?;
        entries.extend_with(LENGTH, Entry::EMPTY, GFP_KERNEL)?;
        Ok(Self {
            entries,
            next: 0,
            answers: 0,
        })
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        // CAST: below the length.
        self.entries.get_mut((number % LENGTH as u32) as usize)
    }

    /// Remembers a command that goes to the device. Returns its number.
    ///
    /// Context: lock of the message held.
    #[inline]
    pub(super) fn begin(&mut self, buffer: &CommandBuffer, fence: u64) -> u32 {
        let (number, new) = (self.next, Entry::new(buffer, fence));
        if let Some(entry) = self.entry(number) {
            *entry = new;
        }
        self.next = number.wrapping_add(1);
        number
    }

    /// Remembers the answer to a command, of which the device wrote so many bytes.
    ///
    /// Context: lock of the message held.
    #[inline]
    pub(super) fn end(&mut self, number: u32, buffer: &CommandBuffer, written: u32) {
        self.answers += 1;
        if self.next.wrapping_sub(number) > LENGTH as u32 {
            return;
        }
        let kind = match buffer.has_response() && written >= 4 {
            true => buffer.response_kind(),
            false => 0,
        };
        if let Some(entry) = self.entry(number) {
            entry.answer = Answer::Some(kind, written);
        }
    }

    /// Remembers that the device was reset.
    pub(super) fn restart(&mut self) {
        for entry in &mut self.entries {
            if matches!(entry.answer, Answer::None) {
                entry.answer = Answer::Lost;
            }
        }
        self.answers = 0;
    }
}

impl Virtqueue {
    /// Returns how many commands the device has answered since the queue was started.
    ///
    /// Context: lock of the message held.
    pub(crate) fn answers(&self) -> u64 {
        self.log.answers
    }

    /// Writes what is in the ring, and which commands were the last ones.
    ///
    /// Context: lock of the message held, or the state is in no message. Does not allocate.
    pub(crate) fn print_commands(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        let mut listed = 0;
        for (token, request, published) in self.ring.requests().take(LISTED) {
            let Request { number, fence, .. } = request;
            let entry = Entry::new(&request.buffer, *fence);
            let hidden = if published { "" } else { ", not published" };
            writeln!(f, "  in flight: #{number} token {token} {entry}{hidden}")?;
            listed += 1;
        }
        let in_flight = usize::from(self.ring.in_flight());
        if in_flight > listed {
            writeln!(f, "  in flight: and {} more", in_flight - listed)?;
        }
        // CAST: the length is small.
        let count = self.log.next.min(LENGTH as u32);
        for age in (1..=count).rev() {
            let number = self.log.next.wrapping_sub(age);
            // CAST: below the length.
            let place = (number % LENGTH as u32) as usize;
            if let Some(entry) = self.log.entries.get(place) {
                writeln!(f, "  command: #{number} {entry}: {}", entry.answer)?;
            }
        }
        Ok(())
    }
}
