// SPDX-License-Identifier: GPL-2.0

//! [`Walk`] follows the list of capabilities in configuration space.

use super::ConfigRead;

/// First offset after the configuration header; the list cannot point below it.
const FIRST_CAPABILITY: u8 = 0x40;

/// The most capabilities that fit between the header and the end: each has at least 4 bytes.
const MAX_CAPABILITIES: u8 = 48;

const PCI_STATUS: u16 = 0x06;
const PCI_STATUS_CAP_LIST: u8 = 0x10;
const PCI_CAPABILITY_LIST: u16 = 0x34;
const PCI_CAP_ID_VNDR: u8 = 0x09;

/// What configuration space reads as when the device is gone.
const PCI_CAP_ID_GONE: u8 = 0xff;

const CAP_NEXT: u16 = 1;
const CAP_LEN: u16 = 2;
const CAP_CFG_TYPE: u16 = 3;

/// A vendor-specific capability in the list.
#[derive(Clone, Copy)]
pub(super) struct VendorCap {
    /// Offset in configuration space.
    pub(super) position: u8,
    pub(super) cap_len: u8,
    pub(super) cfg_type: u8,
}

/// Iterator over the vendor-specific capabilities, in the order of the list.
///
/// Ends at the first pointer into the header, at an element that cannot be read, or after
/// [`MAX_CAPABILITIES`] elements: a longer list has a loop.
pub(super) struct Walk<'a, C> {
    config: &'a C,
    next: u8,
    left: u8,
}

impl<'a, C: ConfigRead> Walk<'a, C> {
    pub(super) fn new(config: &'a C) -> Self {
        let listed = matches!(config.read_u8(PCI_STATUS), Some(s) if s & PCI_STATUS_CAP_LIST != 0);
        let first = if listed {
            config.read_u8(PCI_CAPABILITY_LIST).unwrap_or(0)
        } else {
            0
        };
        Self {
            config,
            next: first,
            left: MAX_CAPABILITIES,
        }
    }
}

impl<C: ConfigRead> Iterator for Walk<'_, C> {
    type Item = VendorCap;

    fn next(&mut self) -> Option<VendorCap> {
        loop {
            // The two low bits of a pointer are reserved, and the specification says to mask them.
            let position = self.next & 0xfc;
            if position < FIRST_CAPABILITY {
                return None;
            }
            self.left = self.left.checked_sub(1)?;

            let base = u16::from(position);
            let id = self.config.read_u8(base)?;
            if id == PCI_CAP_ID_GONE {
                return None;
            }
            self.next = self.config.read_u8(base + CAP_NEXT)?;

            if id == PCI_CAP_ID_VNDR {
                return Some(VendorCap {
                    position,
                    cap_len: self.config.read_u8(base + CAP_LEN)?,
                    cfg_type: self.config.read_u8(base + CAP_CFG_TYPE)?,
                });
            }
        }
    }
}
