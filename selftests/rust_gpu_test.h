/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the rust_gpu tests share: finding the device, its sysfs and modules.
 *
 * Environment:
 *   RUST_GPU_REQUIRED=1	an absent device is a failure, not a skip
 */
#ifndef _RUST_GPU_TEST_H
#define _RUST_GPU_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <drm/rust_gpu_drm.h>

#include "kselftest.h"
#include "module/rust_gpu_sync_test.h"

#define NSEC_PER_SEC	1000000000LL
#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_USEC	1000LL

/* Longest that anything may take on an emulated machine with a debug kernel. */
#define GPU_PATIENCE_NS	(20 * NSEC_PER_SEC)

struct gpu {
	char pci[32];		/* 0000:00:02.0 */
	char card[64];		/* /dev/dri/card0 */
	char render[64];	/* /dev/dri/renderD128 */
};

static __maybe_unused __s64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static __maybe_unused void sleep_ns(__s64 ns)
{
	struct timespec ts = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* A path put together; the buffer is one of a few, so use it at once. */
static __printf(1, 2) __maybe_unused const char *path(const char *format, ...)
{
	static __thread char buffers[4][PATH_MAX];
	static __thread unsigned int next;
	char *buffer = buffers[next++ % 4];
	va_list args;

	va_start(args, format);
	vsnprintf(buffer, PATH_MAX, format, args);
	va_end(args);
	return buffer;
}

static __maybe_unused bool gpu_required(void)
{
	const char *value = getenv("RUST_GPU_REQUIRED");

	return value && !strcmp(value, "1");
}

/* Last part of what a symbolic link points to; false if there is none. */
static __maybe_unused bool link_name(const char *link, char *name, size_t size)
{
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len < 0)
		return false;
	target[len] = '\0';
	snprintf(name, size, "%s", basename(target));
	return true;
}

/* Returns 0 or a negative errno. */
static __maybe_unused int write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Reads at most @size - 1 bytes, NUL-terminates. Returns length or -errno. */
static __maybe_unused ssize_t read_file(const char *name, char *text, size_t size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t len;

	if (fd < 0)
		return -errno;
	do {
		len = read(fd, text + used, size - 1 - used);
		if (len > 0)
			used += len;
	} while (len > 0 && used < size - 1);
	text[used] = '\0';
	if (len < 0)
		len = -errno;
	close(fd);
	return len < 0 ? len : (ssize_t)used;
}

/* The number after @key in a file of "key: number" lines; -1 if absent. */
static __maybe_unused __s64 file_number(const char *name, const char *key)
{
	static __thread char text[65536];
	char *found;

	if (read_file(name, text, sizeof(text)) <= 0)
		return -1;
	found = strstr(text, key);
	return found ? strtoll(found + strlen(key), NULL, 0) : -1;
}

/*
 * What was allocated with vmalloc(), in kB, but for the stacks of threads: KernelStack
 * has those that are in use, and others are kept for the next threads.
 */
static __maybe_unused __s64 vmalloc_memory(void)
{
	FILE *file = fopen("/proc/vmallocinfo", "r");
	char line[512], *found;
	__s64 pages = 0;

	while (file && fgets(line, sizeof(line), file)) {
		/* The first of these that the compiler did not inline has made a stack. */
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

/* Memory of the kernel's own, and all that is free, in kB. */
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

/*
 * Finds the nodes of the first device that the driver rust_gpu is bound to.
 * Returns false if there is none.
 */
static __maybe_unused bool gpu_find(struct gpu *gpu)
{
	struct dirent *entry;
	char name[64];
	DIR *dir = opendir("/dev/dri");

	memset(gpu, 0, sizeof(*gpu));
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		bool card = !strncmp(entry->d_name, "card", 4);
		bool render = !strncmp(entry->d_name, "renderD", 7);

		if (!card && !render)
			continue;
		if (!link_name(path("/sys/class/drm/%s/device/driver", entry->d_name), name,
			       sizeof(name)) || strcmp(name, "rust_gpu"))
			continue;
		if (!link_name(path("/sys/class/drm/%s/device", entry->d_name), name,
			       sizeof(name)))
			continue;
		if (gpu->pci[0] && strcmp(gpu->pci, name))
			continue;
		snprintf(gpu->pci, sizeof(gpu->pci), "%.31s", name);
		snprintf(card ? gpu->card : gpu->render, sizeof(gpu->card), "/dev/dri/%.40s",
			 entry->d_name);
	}
	closedir(dir);
	return gpu->card[0] && gpu->render[0];
}

static __maybe_unused bool gpu_wait(struct gpu *gpu, __s64 ns)
{
	__s64 deadline = now_ns() + ns;

	while (!gpu_find(gpu)) {
		if (now_ns() > deadline)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

/* Returns -errno instead of -1. */
static __maybe_unused int gpu_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

/* Makes a dma-buf of a buffer: its descriptor, or -errno. */
static __maybe_unused int prime_export(int fd, __u32 handle)
{
	struct drm_prime_handle prime = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret = gpu_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	return ret ? ret : prime.fd;
}

/* Makes a handle of a dma-buf: 0 or -errno. */
static __maybe_unused int prime_import(int fd, int dma_buf, __u32 *handle)
{
	struct drm_prime_handle prime = { .fd = dma_buf };
	int ret = gpu_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);

	*handle = prime.handle;
	return ret;
}

static __maybe_unused int gpu_info(int fd, struct drm_rust_gpu_device_info *info)
{
	memset(info, 0, sizeof(*info));
	return gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_DEVICE_INFO, info);
}

static __maybe_unused int gpu_counters(int fd, __u32 message,
				       struct drm_rust_gpu_message_counters *counters)
{
	memset(counters, 0, sizeof(*counters));
	counters->message = message;
	return gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS, counters);
}

/* Submits @count packets and gives the fence of the last; -errno, or how many. */
static __maybe_unused int gpu_submit(int fd, __u32 node, __u32 count, __u32 flags,
				     __u64 *fence)
{
	struct drm_rust_gpu_submit_null submit = {
		.node = node,
		.flags = flags,
		.count = count,
	};
	int ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_SUBMIT_NULL, &submit);

	*fence = submit.fence;
	return ret ? ret : (int)submit.submitted;
}

static __maybe_unused int gpu_wait_fence(int fd, __u32 node, __u64 fence, __s64 deadline)
{
	struct drm_rust_gpu_wait_fence wait = {
		.node = node,
		.fence = fence,
		.deadline_ns = deadline,
	};
	int ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_WAIT_FENCE, &wait);

	/* A success that names an older fence is none. */
	return !ret && wait.completed < fence ? -EPROTO : ret;
}

static __maybe_unused int gpu_query(int fd, __u32 node, __u64 *completed, __u64 *submitted)
{
	struct drm_rust_gpu_query_fence query = { .node = node };
	int ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_QUERY_FENCE, &query);

	*completed = query.completed;
	*submitted = query.submitted;
	return ret;
}

/* Waits until every packet of every node is complete. */
static __maybe_unused int gpu_quiesce(int fd)
{
	__u64 completed, submitted;
	__u32 node;
	int ret;

	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		ret = gpu_query(fd, node, &completed, &submitted);
		if (!ret && completed < submitted)
			ret = gpu_wait_fence(fd, node, submitted, now_ns() + GPU_PATIENCE_NS);
		if (ret)
			return ret;
	}
	return 0;
}

/* Submits to each node and waits: the device works. Returns 0 or -errno. */
static __maybe_unused int gpu_works(int fd)
{
	__u64 fence;
	__u32 node;
	int ret;

	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		ret = gpu_submit(fd, node, 1, 0, &fence);
		if (ret != 1)
			return ret < 0 ? ret : -EIO;
		ret = gpu_wait_fence(fd, node, fence, now_ns() + GPU_PATIENCE_NS);
		if (ret)
			return ret;
	}
	return 0;
}

static __maybe_unused int gpu_unbind(const struct gpu *gpu)
{
	return write_file("/sys/bus/pci/drivers/rust_gpu/unbind", gpu->pci);
}

/* Binds and finds the nodes again. */
static __maybe_unused int gpu_bind(struct gpu *gpu)
{
	char pci[sizeof(gpu->pci)];
	int ret;

	memcpy(pci, gpu->pci, sizeof(pci));
	ret = write_file("/sys/bus/pci/drivers/rust_gpu/bind", pci);
	if (ret)
		return ret;
	return gpu_wait(gpu, GPU_PATIENCE_NS) ? 0 : -ENODEV;
}

/* Directory that this program is in. */
static __maybe_unused const char *self_dir(void)
{
	static char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return ".";
	self[len] = '\0';
	return dirname(self);
}

/* Runs a program; returns its exit code, 127 if there is no such program. */
static __maybe_unused int run_program(const char *const argv[])
{
	pid_t child = fork();
	int status;

	if (!child) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return 126;
	return WEXITSTATUS(status);
}

/* As gpu_find(), but loads the driver first if need be. */
static __maybe_unused bool gpu_present(struct gpu *gpu)
{
	const char *const modprobe[] = { "modprobe", "-q", "rust_gpu", NULL };

	return gpu_find(gpu) || (!run_program(modprobe) && gpu_find(gpu));
}

static __maybe_unused int module_load_file(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);
	return ret == -EEXIST ? 0 : ret;
}

static __maybe_unused int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/*
 * Opens the device of the test module, loading the module first if need be.
 * Returns a descriptor or -errno; *@loaded tells whether to unload it.
 */
static __maybe_unused int sync_test_open(bool *loaded)
{
	const char *const modprobe[] = { "modprobe", "-q", "rust_gpu_sync_test", NULL };
	int fd = open(RUST_GPU_SYNC_TEST_DEVICE, O_RDWR | O_CLOEXEC);

	*loaded = false;
	if (fd >= 0)
		return fd;
	if (module_load_file(path("%s/module/rust_gpu_sync_test.ko", self_dir())) &&
	    run_program(modprobe))
		return -ENOENT;
	*loaded = true;
	fd = open(RUST_GPU_SYNC_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static __maybe_unused void sync_test_close(int fd, bool loaded)
{
	if (fd >= 0)
		close(fd);
	if (loaded)
		module_unload("rust_gpu_sync_test");
}

/* Whether interrupt handlers are threads: their runs are not the interrupts. */
static __maybe_unused bool irqs_are_threaded(void)
{
	char text[4096];
	struct utsname name;

	if (!uname(&name) && strstr(name.version, "PREEMPT_RT"))
		return true;
	return read_file("/proc/cmdline", text, sizeof(text)) > 0 && strstr(text, "threadirqs");
}

/*
 * Interrupts delivered so far for each of the driver's messages, in the order
 * of the messages, of all CPUs. Returns the number of messages listed.
 */
static __maybe_unused unsigned int irq_counts(__u64 *counts, unsigned int size)
{
	static __thread char text[65536];
	char *line, *next, *end;
	unsigned int found = 0;
	__u64 n;

	if (read_file("/proc/interrupts", text, sizeof(text)) <= 0)
		return 0;
	for (line = strtok_r(text, "\n", &next); line && found < size;
	     line = strtok_r(NULL, "\n", &next)) {
		if (!strstr(line, "rust_gpu"))
			continue;
		line = strchr(line, ':');
		if (!line)
			continue;
		counts[found] = 0;
		for (line++;; line = end) {
			n = strtoull(line, &end, 10);
			/* The columns of the CPUs end where the controller's name begins. */
			if (end == line || (*end != ' ' && *end != '\0'))
				break;
			counts[found] += n;
		}
		found++;
	}
	return found;
}

static __maybe_unused unsigned int cpus_online(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? n : 1;
}

/*
 * For the harness: runs @statement, to leave the test, unless @condition holds;
 * the test is then skipped, or fails where a device is required.
 */
#define REQUIRE(statement, condition, reason) do {			\
	const char *__reason = (condition) ? NULL : (reason);		\
									\
	if (__reason) {							\
		ASSERT_FALSE(gpu_required()) TH_LOG("%s", __reason);	\
		SKIP(statement, "%s", __reason);			\
	}								\
} while (0)

#define NO_GPU	"no device is bound to rust_gpu"

#endif /* _RUST_GPU_TEST_H */
