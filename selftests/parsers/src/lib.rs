// SPDX-License-Identifier: GPL-2.0

//! User-space tests of the parsers of what a device supplies: the driver's own sources, included as
//! they are.

// What only the driver uses.
#![allow(dead_code)]

#[path = "../../../caps.rs"]
mod caps;
#[path = "../../../command.rs"]
mod command;

#[cfg(test)]
mod caps_tests;
#[cfg(test)]
mod command_tests;
#[cfg(test)]
mod edid_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod space;
