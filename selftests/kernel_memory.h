/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much memory the kernel uses, for the benchmarks.
 */
#ifndef _KERNEL_MEMORY_H
#define _KERNEL_MEMORY_H

#include "rust_gpu_test.h"

/*
 * What vmalloc() gave out, in kB, without the stacks of threads: KernelStack counts those
 * that are in use, and the kernel keeps others for the next threads.
 */
static __maybe_unused __s64 vmalloc_memory(void)
{
	FILE *file = fopen("/proc/vmallocinfo", "r");
	char line[512], *found;
	__s64 pages = 0;

	while (file && fgets(line, sizeof(line), file)) {
		/* A stack is listed under the first of these that is not inlined. */
		if (strstr(line, "alloc_thread_stack") || strstr(line, "dup_task_struct") ||
		    strstr(line, "copy_process"))
			continue;
		found = strstr(line, " pages=");
		if (found)
			pages += strtoll(found + strlen(" pages="), NULL, 0);
	}
	if (file)
		fclose(file);
	return pages * sysconf(_SC_PAGESIZE) / 1024;
}

/* The kernel's own memory, and all free memory, in kB. */
static __maybe_unused void kernel_memory(__s64 *kernel, __s64 *free_pages)
{
	static const char *const keys[] = { "\nSlab:", "\nPercpu:", "\nKernelStack:" };
	unsigned int i;

	write_file("/proc/sys/vm/drop_caches", "3");
	sleep_ns(20 * NSEC_PER_MSEC);
	*kernel = vmalloc_memory();
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		*kernel += file_number("/proc/meminfo", keys[i]);
	*free_pages = file_number("/proc/meminfo", "\nMemFree:");
}

#endif /* _KERNEL_MEMORY_H */
