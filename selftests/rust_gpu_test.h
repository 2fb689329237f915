/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of all tests: finding the device, its ioctls, sysfs files and modules.
 *
 * Environment:
 *   RUST_GPU_REQUIRED=1	an absent device is a failure, not a skip
 *   RUST_GPU_LONG=1	tests that repeat something do so more often
 */
#ifndef _RUST_GPU_TEST_H
#define _RUST_GPU_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <drm/rust_gpu_drm.h>

#include "kselftest.h"
#include "module/rust_gpu_sync_test.h"

#define NSEC_PER_SEC	1000000000LL
#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_USEC	1000LL

/* Longest that anything may take, with a debug kernel on a busy host as well. */
#define GPU_PATIENCE_NS	(20 * NSEC_PER_SEC)

/* The first nodes take null packets. The render node, which is the last one, does not. */
#define GPU_NULL_NODES	RUST_GPU_NODE_RENDER

#define NO_GPU	"no device is bound to rust_gpu"

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

/* For qsort(). */
static __maybe_unused int compare_times(const void *a, const void *b)
{
	__s64 x = *(const __s64 *)a, y = *(const __s64 *)b;

	return x < y ? -1 : x > y;
}

static __maybe_unused void sleep_ns(__s64 ns)
{
	struct timespec ts = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static __maybe_unused __s64 larger(__s64 a, __s64 b)
{
	return a > b ? a : b;
}

static __maybe_unused void on_alarm(int signal)
{
	(void)signal;
}

/* Interrupts a system call that takes longer: it returns -EINTR. 0 ends that. */
static __maybe_unused void interrupt_after(unsigned int seconds)
{
	const struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}

/* Formats a path. Four calls later its buffer is used again. */
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

static __maybe_unused bool variable_is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && !strcmp(value, "1");
}

static __maybe_unused bool gpu_required(void)
{
	return variable_is_set("RUST_GPU_REQUIRED");
}

/* Kills a child that has not ended. Returns after how long it is dead, or -errno. */
static __maybe_unused __s64 time_to_die(pid_t child)
{
	const __s64 start = now_ns();
	int status;

	if (waitpid(child, &status, WNOHANG) || kill(child, SIGKILL) ||
	    waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
		return -ECHILD;
	return now_ns() - start;
}

/* How often to do something: @quick times, or @thorough times if there is time. */
static __maybe_unused unsigned int gpu_rounds(unsigned int quick, unsigned int thorough)
{
	return variable_is_set("RUST_GPU_LONG") ? thorough : quick;
}

/* Reads the last part of a symbolic link. Returns false if there is none. */
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

/* Returns 0 or -errno. */
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

/* Reads at most @size - 1 bytes and terminates them. Returns the length or -errno. */
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

/* Returns the number after @key in a file of "key: number" lines, -1 if there is none. */
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

/* The driver, as DRM_IOCTL_VERSION describes it. */
struct gpu_version {
	char name[64];
	char desc[128];
	int major, minor, patch;
};

static __maybe_unused int gpu_version(int fd, struct gpu_version *version)
{
	struct drm_version get = {
		.name = version->name,
		.name_len = sizeof(version->name) - 1,
		.desc = version->desc,
		.desc_len = sizeof(version->desc) - 1,
	};
	int ret;

	memset(version, 0, sizeof(*version));
	ret = gpu_ioctl(fd, DRM_IOCTL_VERSION, &get);
	version->major = get.version_major;
	version->minor = get.version_minor;
	version->patch = get.version_patchlevel;
	return ret;
}

/* Exports a buffer as a dma-buf. Returns its descriptor or -errno. */
static __maybe_unused int prime_export(int fd, __u32 handle)
{
	struct drm_prime_handle prime = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret = gpu_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	return ret ? ret : prime.fd;
}

/* Imports a dma-buf. Returns 0 or -errno. */
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

/*
 * Submits @count packets. *@fence gets the ticket of the last one. Returns how many were
 * taken, or -errno.
 */
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

	/* The answer must name this fence or a later one. */
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

/* As gpu_query(), but for the submission ids of the node, so for all files and the driver. */
static __maybe_unused int gpu_query_node(int fd, __u32 node, __u64 *completed, __u64 *submitted)
{
	struct drm_rust_gpu_query_fence query = { .node = node };
	int ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_QUERY_FENCE, &query);

	*completed = query.node_completed;
	*submitted = query.node_submitted;
	return ret;
}

/* Waits until every packet of every node is complete, of all files. Returns 0 or -errno. */
static __maybe_unused int gpu_quiesce(int fd)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__u32 node;

	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		struct drm_rust_gpu_query_fence query = { .node = node };
		int ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_QUERY_FENCE, &query);

		while (!ret && query.node_pending) {
			if (now_ns() > end)
				return -ETIME;
			sleep_ns(NSEC_PER_MSEC);
			ret = gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_QUERY_FENCE, &query);
		}
		if (ret)
			return ret;
	}
	return 0;
}

/* Sums up all that changes when the device has work: fences, interrupts and DPCs. */
static __maybe_unused int gpu_activity(int fd, __u64 *sum)
{
	struct drm_rust_gpu_message_counters counters;
	struct drm_rust_gpu_device_info info;
	__u64 completed, submitted;
	int ret = gpu_info(fd, &info);
	__u32 i;

	*sum = 0;
	for (i = 0; !ret && i < info.messages; i++) {
		ret = gpu_counters(fd, i, &counters);
		*sum += counters.interrupts + counters.not_ours + counters.notifications +
			counters.dpcs_queued + counters.dpcs_refused + counters.dpcs_run;
	}
	for (i = 0; !ret && i < RUST_GPU_NODE_COUNT; i++) {
		ret = gpu_query_node(fd, i, &completed, &submitted);
		*sum += completed + submitted;
	}
	return ret;
}

/*
 * Waits until the device has no work. A console that was just taken over still draws, and
 * its vblanks are reported until some seconds later. Tells how often it read the
 * counters of each message, which counts there as a synchronised routine. Returns 0 or
 * -errno.
 */
static __maybe_unused int gpu_calm_counted(int fd, unsigned int *reads)
{
	const __s64 end = now_ns() + 3 * GPU_PATIENCE_NS;
	__u64 now, last = 0;
	int calm = 0, ret;

	*reads = 0;
	while (calm < 10) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		ret = gpu_activity(fd, &now);
		if (ret)
			return ret;
		(*reads)++;
		calm = now == last ? calm + 1 : 0;
		last = now;
		sleep_ns(50 * NSEC_PER_MSEC);
	}
	return 0;
}

/* The same for tests that do not count routines. */
static __maybe_unused int gpu_calm(int fd)
{
	unsigned int reads;

	return gpu_calm_counted(fd, &reads);
}

/* Checks that each node executes a packet. Returns 0 or -errno. */
static __maybe_unused int gpu_works(int fd)
{
	__u64 fence;
	__u32 node;
	int ret;

	for (node = 0; node < GPU_NULL_NODES; node++) {
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

/* Binds the device and finds its nodes. Returns 0 or -errno. */
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

/* Binds the device, and unbinds it before if it is bound. Returns 0 or -errno. */
static __maybe_unused int gpu_rebind(struct gpu *gpu)
{
	gpu_unbind(gpu);
	return gpu_bind(gpu);
}

/* Returns the directory of this program. */
static __maybe_unused const char *self_dir(void)
{
	static char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return ".";
	self[len] = '\0';
	return dirname(self);
}

/* Runs a program. Returns its exit code, 127 if there is no such program. */
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

/* Loads the module of the driver, or unloads it. Returns the exit status of modprobe. */
static __maybe_unused int driver_load(void)
{
	const char *const modprobe[] = { "modprobe", "rust_gpu", NULL };

	return run_program(modprobe);
}

static __maybe_unused int driver_unload(void)
{
	const char *const modprobe[] = { "modprobe", "-r", "rust_gpu", NULL };

	return run_program(modprobe);
}

/* As gpu_find(), but loads the driver first if needed. */
static __maybe_unused bool gpu_present(struct gpu *gpu)
{
	const char *const modprobe[] = { "modprobe", "-q", "rust_gpu", NULL };

	return gpu_find(gpu) || (!run_program(modprobe) && gpu_find(gpu));
}

enum gpu_node { GPU_CARD, GPU_RENDER };

/*
 * Finds the device, opens one of its nodes, and waits until the device is idle. *@fd gets
 * the descriptor, or -errno. Returns why there is nothing to test, or NULL.
 */
static __maybe_unused const char *gpu_open(struct gpu *gpu, enum gpu_node node, int *fd)
{
	int ret;

	*fd = -1;
	if (geteuid())
		return "not root";
	if (!gpu_present(gpu))
		return NO_GPU;
	*fd = open(node == GPU_CARD ? gpu->card : gpu->render, O_RDWR | O_CLOEXEC);
	if (*fd < 0) {
		*fd = -errno;
		return NULL;
	}
	ret = gpu_quiesce(*fd);
	if (ret) {
		close(*fd);
		*fd = ret;
	}
	return NULL;
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
 * Opens the device of the test module, and loads the module first if needed. *@loaded
 * tells whether to unload it. Returns a descriptor or -errno.
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

static __maybe_unused unsigned int cpus_online(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? n : 1;
}

/*
 * Leaves the test by @statement unless @condition holds. The test is then skipped, or
 * fails if a device is required.
 */
#define REQUIRE(statement, condition, reason) do {			\
	const char *__reason = (condition) ? NULL : (reason);		\
									\
	if (__reason) {							\
		ASSERT_FALSE(gpu_required()) TH_LOG("%s", __reason);	\
		SKIP(statement, "%s", __reason);			\
	}								\
} while (0)

#endif /* _RUST_GPU_TEST_H */
