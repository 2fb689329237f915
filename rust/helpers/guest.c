// SPDX-License-Identifier: GPL-2.0

#include <linux/cc_platform.h>
#include <xen/xen.h>

__rust_helper bool rust_helper_cc_platform_has(enum cc_attr attr)
{
	return cc_platform_has(attr);
}

__rust_helper bool rust_helper_xen_domain(void)
{
	return xen_domain();
}
