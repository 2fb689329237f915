// SPDX-License-Identifier: GPL-2.0

//! [`CapsError`] names a type of capability that the device lacks, and its [`Reason`] says why.

use core::fmt;

use super::CfgType;

/// Why a capability cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The device has none of this type.
    Missing,
    /// The capability (`cap_len`, in bytes) does not hold all fields of its type.
    CapLen {
        /// What the device says.
        cap_len: u8,
        /// The least that is needed.
        min: u8,
    },
    /// The fields go beyond configuration space, or reading one failed.
    Unreadable,
    /// The BAR is not there.
    BarAbsent {
        /// Number of the BAR.
        bar: u8,
    },
    /// The BAR decodes I/O ports.
    BarIo {
        /// Number of the BAR.
        bar: u8,
    },
    /// The structure is too short.
    Length {
        /// What the device says, in bytes.
        length: u64,
        /// The least that is needed, in bytes.
        min: u32,
    },
    /// The structure's offset is not aligned.
    Misaligned {
        /// What the device says, in bytes.
        offset: u64,
        /// What it must be a multiple of.
        alignment: u32,
    },
    /// The structure goes beyond the end of its BAR.
    BeyondBar {
        /// Number of the BAR.
        bar: u8,
        /// What the device says, in bytes.
        offset: u64,
        /// What the device says, in bytes.
        length: u64,
        /// Real length of the BAR, in bytes.
        bar_len: u64,
    },
    /// `notify_off_multiplier` is neither 0 nor an even power of two.
    Multiplier {
        /// What the device says.
        multiplier: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => f.write_str("missing"),
            Self::CapLen { cap_len, min } => write!(f, "cap_len {cap_len} is less than {min}"),
            Self::Unreadable => f.write_str("cannot be read from configuration space"),
            Self::BarAbsent { bar } => write!(f, "BAR {bar} is not there"),
            Self::BarIo { bar } => write!(f, "BAR {bar} is an I/O port BAR"),
            Self::Length { length, min } => write!(f, "length {length} is less than {min}"),
            Self::Misaligned { offset, alignment } => {
                write!(f, "offset {offset:#x} is not a multiple of {alignment}")
            }
            Self::BeyondBar {
                bar,
                offset,
                length,
                bar_len,
            } => write!(
                f,
                "{length:#x} bytes at {offset:#x} are beyond the end of BAR {bar} ({bar_len:#x})"
            ),
            Self::Multiplier { multiplier } => {
                write!(
                    f,
                    "notify_off_multiplier {multiplier} is no even power of two"
                )
            }
        }
    }
}

/// The device has no usable capability of a type that the driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CapsError {
    /// The type that is needed.
    pub(crate) capability: CfgType,
    /// What is wrong with the last candidate in the list.
    pub(crate) reason: Reason,
}

impl fmt::Display for CapsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} capability: {}", self.capability, self.reason)
    }
}
