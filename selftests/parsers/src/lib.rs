// SPDX-License-Identifier: GPL-2.0

//! User-space tests of the parsers of what a device supplies: the driver's own sources, included as
//! they are.

/// Where the driver is: its modules find the files below them as in the kernel. The driver uses what
/// is not used here, and does not yet use all that is.
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../.."]
mod driver {
    pub(crate) mod command;
    pub(crate) mod transport {
        pub(crate) mod caps;
    }
}

#[cfg(test)]
use driver::{
    command,
    transport::caps, //
};

#[cfg(test)]
mod caps_tests;
#[cfg(test)]
mod command_tests;
#[cfg(test)]
mod display_tests;
#[cfg(test)]
mod edid_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod space;
#[cfg(test)]
mod vector_tests;
