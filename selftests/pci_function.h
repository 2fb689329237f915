/* SPDX-License-Identifier: GPL-2.0 */
/* The PCI function of the device: its configuration space and its MSI-X table. */
#ifndef _PCI_FUNCTION_H
#define _PCI_FUNCTION_H

#include <sys/mman.h>

#include "rust_gpu_test.h"

#define PCI_COMMAND		0x04
#define PCI_COMMAND_MASTER	0x4
#define PCI_CAPABILITY_LIST	0x34
#define PCI_CAP_ID_VNDR		0x09
#define PCI_CAP_ID_MSIX		0x11
#define MSIX_TABLE_BAR		0x7
#define MSIX_ENTRY_SIZE		16
#define MSIX_VECTOR_CONTROL	12
#define MSIX_MASKED		1
#define PAGE			4096

struct capability {
	__u8 id, next, len, type, bar, pad[3];
	__u32 offset, length;
	__u32 multiplier;
};

/* Finds a capability of the PCI function; a vendor-specific one by its type. */
static __maybe_unused bool find_capability(const struct gpu *gpu, __u8 id, __u8 type,
					   struct capability *found)
{
	int fd = open(path("/sys/bus/pci/devices/%s/config", gpu->pci), O_RDONLY | O_CLOEXEC);
	__u8 at = 0;
	int i;

	if (fd < 0)
		return false;
	if (pread(fd, &at, 1, PCI_CAPABILITY_LIST) != 1)
		at = 0;
	for (i = 0; i < 48 && at >= 0x40; i++, at = found->next) {
		if (pread(fd, found, sizeof(*found), at) != sizeof(*found))
			break;
		if (found->id == id && (id != PCI_CAP_ID_VNDR || found->type == type)) {
			close(fd);
			return true;
		}
	}
	close(fd);
	return false;
}

/* Maps the page of a BAR in which a structure begins. */
static __maybe_unused __u8 *map_structure(const struct gpu *gpu, __u8 bar, __u64 at)
{
	int fd = open(path("/sys/bus/pci/devices/%s/resource%u", gpu->pci, bar),
		      O_RDWR | O_CLOEXEC);
	__u8 *mapped;

	if (fd < 0)
		return NULL;
	mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at & ~(PAGE - 1ULL));
	close(fd);
	return mapped == MAP_FAILED ? NULL : mapped + (at & (PAGE - 1));
}

static __maybe_unused void unmap_structure(__u8 *structure)
{
	if (structure)
		munmap(structure - (uintptr_t)structure % PAGE, PAGE);
}

/* Maps the MSI-X table. Its place follows 2 bytes of control in the capability. */
static __maybe_unused __u8 *map_vectors(const struct gpu *gpu)
{
	struct capability msix;
	__u32 table;

	if (!find_capability(gpu, PCI_CAP_ID_MSIX, 0, &msix))
		return NULL;
	memcpy(&table, (__u8 *)&msix + 4, sizeof(table));
	return map_structure(gpu, table & MSIX_TABLE_BAR, table & ~MSIX_TABLE_BAR);
}

/* Lets the device use the bus, or keeps it from that. Returns 0 or -errno. */
static __maybe_unused int set_bus_master(const struct gpu *gpu, bool on)
{
	int fd = open(path("/sys/bus/pci/devices/%s/config", gpu->pci), O_RDWR | O_CLOEXEC);
	__u16 command;
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (pread(fd, &command, sizeof(command), PCI_COMMAND) != sizeof(command)) {
		ret = -EIO;
	} else {
		command = on ? command | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MASTER;
		if (pwrite(fd, &command, sizeof(command), PCI_COMMAND) != sizeof(command))
			ret = -EIO;
	}
	close(fd);
	return ret;
}

#endif /* _PCI_FUNCTION_H */
