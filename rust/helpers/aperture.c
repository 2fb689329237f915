// SPDX-License-Identifier: GPL-2.0

#include <linux/aperture.h>

#ifndef CONFIG_APERTURE_HELPERS
__rust_helper int
rust_helper_aperture_remove_conflicting_pci_devices(struct pci_dev *pdev,
						    const char *name)
{
	return aperture_remove_conflicting_pci_devices(pdev, name);
}
#endif
