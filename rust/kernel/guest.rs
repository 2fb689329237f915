// SPDX-License-Identifier: GPL-2.0

//! What a guest knows of the hypervisor that it runs under.
//!
//! A paravirtual device is a part of the hypervisor. Which memory it can access, and by which
//! addresses, depends on both.
//!
//! C headers: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h),
//! [`include/xen/xen.h`](srctree/include/xen/xen.h)

use crate::bindings;

/// Returns whether the memory of this guest is encrypted, so that the hypervisor and its devices
/// can only access what the guest shares with them. The DMA API shares memory; whoever does not
/// use it has to do so itself.
///
/// Context: any.
#[inline]
#[doc(alias = "cc_platform_has")]
pub fn has_encrypted_memory() -> bool {
    // SAFETY: It only reads what was found out at boot.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_GUEST_MEM_ENCRYPT) }
}

/// Returns whether this is a guest of Xen, for which physical addresses may not be those of the
/// machine.
///
/// Context: any.
#[inline]
#[doc(alias = "xen_domain")]
pub fn is_xen() -> bool {
    // SAFETY: It only reads what was found out at boot.
    unsafe { bindings::xen_domain() }
}
