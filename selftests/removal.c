// SPDX-License-Identifier: GPL-2.0
/*
 * The device goes away under load: with open files, waiters, full queues, and timers of
 * another module that call synchronised routines.
 *
 * Environment:
 *   RUST_GPU_REMOVAL_ROUNDS	rounds of each kind; 10 if not set
 *   RUST_GPU_SLOT_OFF=1	also switch the slot off; the machine has no device
 *				afterwards
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "rust_gpu_test.h"

/* The deadline of waiters. They return earlier if the device goes away. */
#define WAIT_NS		(3 * GPU_PATIENCE_NS)

/* Capability and registers of a PCI Express port. */
#define PCI_CAPABILITY_LIST	0x34
#define PCI_CAP_ID_EXP		0x10
#define PCI_EXP_FLAGS		0x02
#define PCI_EXP_FLAGS_SLOT	0x0100
#define PCI_EXP_SLTCAP		0x14
#define PCI_EXP_SLTCAP_PCP	0x02
#define PCI_EXP_SLTCTL		0x18
#define PCI_EXP_SLTCTL_PIC	0x0300
#define PCI_EXP_SLTCTL_PIC_ON	0x0100
#define PCI_EXP_SLTCTL_PCC	0x0400

enum kind { UNBIND, PCI_REMOVE, POWER_OFF, SLOT_OFF };

enum role {
	WAIT_CONTROL,
	WAIT_CURSOR,
	WAIT_SOFTWARE,
	FLOOD_CONTROL,
	FLOOD_SOFTWARE,
	READ_IOCTLS,
	/* These get no error when the device goes away. */
	READ_DEBUGFS,
	DRAW_CONSOLE,
	ROLES,
};

struct worker {
	pthread_t thread;
	enum role role;
	const struct gpu *gpu;
	bool *stop;
	int fd;
	int error;
	__u64 done;
	__s64 ended;
};

struct subject {
	struct gpu gpu;
	/* sysfs directory of the port above, empty if its slot cannot be switched */
	char port[PATH_MAX];
	int test;
};

FIXTURE(removal)
{
	struct subject subject;
	bool loaded;
};

FIXTURE_VARIANT(removal)
{
	enum kind kind;
};

FIXTURE_VARIANT_ADD(removal, unbind)
{
	.kind = UNBIND,
};

FIXTURE_VARIANT_ADD(removal, pci_remove)
{
	.kind = PCI_REMOVE,
};

FIXTURE_VARIANT_ADD(removal, power_off)
{
	.kind = POWER_OFF,
};

FIXTURE_VARIANT_ADD(removal, slot_off)
{
	.kind = SLOT_OFF,
};

/* Returns the offset of the PCI Express capability of a port, or -errno. */
static int port_capability(int fd)
{
	__u8 at = 0, header[2];
	__u16 flags = 0;
	__u32 slot = 0;
	int i;

	if (pread(fd, &at, 1, PCI_CAPABILITY_LIST) != 1)
		return -ENODEV;
	for (i = 0; i < 48 && at >= 0x40; i++, at = header[1]) {
		if (pread(fd, header, 2, at) != 2)
			return -ENODEV;
		if (header[0] != PCI_CAP_ID_EXP)
			continue;
		if (pread(fd, &flags, 2, at + PCI_EXP_FLAGS) != 2 ||
		    pread(fd, &slot, 4, at + PCI_EXP_SLTCAP) != 4)
			return -ENODEV;
		if (!(flags & PCI_EXP_FLAGS_SLOT) || !(slot & PCI_EXP_SLTCAP_PCP))
			return -ENODEV;
		return at;
	}
	return -ENODEV;
}

/*
 * Switches the power of the slot without the kernel's knowledge. While it is off, all
 * reads of the device return ones.
 */
static int port_power(const char *port, bool on)
{
	int fd = open(path("%s/config", port), O_RDWR | O_CLOEXEC);
	int at, ret = 0;
	__u16 control;

	if (fd < 0)
		return -errno;
	at = port_capability(fd);
	if (at < 0) {
		ret = at;
	} else if (pread(fd, &control, 2, at + PCI_EXP_SLTCTL) != 2) {
		ret = -EIO;
	} else {
		/* If the indicator is off as well, QEMU unplugs the device. */
		control = (control & ~PCI_EXP_SLTCTL_PIC) | PCI_EXP_SLTCTL_PIC_ON;
		control = on ? control & ~PCI_EXP_SLTCTL_PCC : control | PCI_EXP_SLTCTL_PCC;
		if (pwrite(fd, &control, 2, at + PCI_EXP_SLTCTL) != 2)
			ret = -EIO;
	}
	close(fd);
	return ret;
}

/* Finds the port above the device. Returns false if its slot cannot be switched. */
static bool find_port(const struct gpu *gpu, char *port)
{
	int fd, at;

	if (!realpath(path("/sys/bus/pci/devices/%s/..", gpu->pci), port))
		return false;
	fd = open(path("%s/config", port), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	at = port_capability(fd);
	close(fd);
	return at > 0;
}

/* Finds the attribute that switches the device's slot; empty if there is none. */
static void find_slot(const struct gpu *gpu, char *power, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/slots");
	struct dirent *entry;
	char address[64];

	power[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		if (read_file(path("/sys/bus/pci/slots/%s/address", entry->d_name), address,
			      sizeof(address)) <= 0)
			continue;
		/* The address of a slot has no function. */
		if (!strncmp(address, gpu->pci, strlen("0000:00:00")))
			snprintf(power, size, "/sys/bus/pci/slots/%.200s/power", entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static bool reads_all_ones(const struct gpu *gpu)
{
	int fd = open(path("/sys/bus/pci/devices/%s/config", gpu->pci), O_RDONLY | O_CLOEXEC);
	__u16 vendor = 0;

	if (fd < 0)
		return false;
	if (pread(fd, &vendor, 2, 0) != 2)
		vendor = 0;
	close(fd);
	return vendor == 0xffff;
}

FIXTURE_SETUP(removal)
{
	char slot[PATH_MAX];

	self->subject.test = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->subject.gpu), NO_GPU);
	if (variant->kind == POWER_OFF && !find_port(&self->subject.gpu, self->subject.port))
		SKIP(return, "no port whose slot has a power controller");
	if (variant->kind == SLOT_OFF && !getenv("RUST_GPU_SLOT_OFF"))
		SKIP(return, "RUST_GPU_SLOT_OFF not set");
	find_slot(&self->subject.gpu, slot, sizeof(slot));
	if (variant->kind == SLOT_OFF && !slot[0])
		SKIP(return, "not in a hotplug slot");
	self->subject.test = sync_test_open(&self->loaded);
	REQUIRE(return, self->subject.test >= 0, "no module rust_gpu_sync_test");
}

FIXTURE_TEARDOWN(removal)
{
	/* Bring the device back, also after a failure. */
	if (self->subject.port[0])
		port_power(self->subject.port, true);
	if (self->subject.gpu.pci[0] && variant->kind != SLOT_OFF) {
		write_file("/sys/bus/pci/rescan", "1");
		if (!gpu_find(&self->subject.gpu))
			write_file("/sys/bus/pci/drivers/rust_gpu/bind", self->subject.gpu.pci);
	}
	sync_test_close(self->subject.test, self->loaded);
}

/* Does one step of a worker. Returns 0 or -errno. */
static int step(struct worker *worker)
{
	struct drm_rust_gpu_message_counters counters;
	static const char *const files[] = { "ring_control", "ring_cursor", "messages", "nodes" };
	char text[4096];
	__u64 fence, completed;
	__u32 node;
	int ret;

	switch (worker->role) {
	case WAIT_CONTROL:
	case WAIT_CURSOR:
	case WAIT_SOFTWARE:
		node = worker->role - WAIT_CONTROL;
		ret = gpu_submit(worker->fd, node, 16, 0, &fence);
		if (ret < 0)
			return ret;
		return gpu_wait_fence(worker->fd, node, fence, now_ns() + WAIT_NS);
	case FLOOD_CONTROL:
	case FLOOD_SOFTWARE:
		node = worker->role == FLOOD_CONTROL ? RUST_GPU_NODE_CONTROL :
						       RUST_GPU_NODE_SOFTWARE;
		ret = gpu_submit(worker->fd, node, 64, 0, &fence);
		return ret < 0 ? ret : 0;
	case READ_IOCTLS:
		ret = gpu_counters(worker->fd, 0, &counters);
		return ret ? ret : gpu_query(worker->fd, 0, &completed, &fence);
	case READ_DEBUGFS:
		/* Errors are expected: the files go away and may come back. */
		read_file(path("/sys/kernel/debug/rust_gpu/%s/%s", worker->gpu->pci,
			       files[worker->done % ARRAY_SIZE(files)]), text, sizeof(text));
		return 0;
	case DRAW_CONSOLE:
		/* The console is drawn by a work item, which may find the device gone. */
		write_file("/dev/tty1", path("%s: round %llu\n", worker->gpu->pci, worker->done));
		return 0;
	default:
		return -EINVAL;
	}
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	while (!worker->error && (worker->role < READ_DEBUGFS ||
				  !__atomic_load_n(worker->stop, __ATOMIC_RELAXED))) {
		worker->error = step(worker);
		if (!worker->error)
			__atomic_add_fetch(&worker->done, 1, __ATOMIC_RELAXED);
	}
	worker->ended = now_ns();
	return NULL;
}

static int take_away(const struct gpu *gpu, enum kind kind)
{
	char slot[PATH_MAX];

	switch (kind) {
	case UNBIND:
		return gpu_unbind(gpu);
	case PCI_REMOVE:
	case POWER_OFF:
		return write_file(path("/sys/bus/pci/devices/%s/remove", gpu->pci), "1");
	case SLOT_OFF:
		find_slot(gpu, slot, sizeof(slot));
		return write_file(slot, "0");
	}
	return -EINVAL;
}

static int bring_back(struct gpu *gpu, enum kind kind, const char *port)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	char pci[sizeof(gpu->pci)];
	int ret;

	if (kind == UNBIND)
		return gpu_bind(gpu);
	memcpy(pci, gpu->pci, sizeof(pci));
	if (kind == POWER_OFF) {
		ret = port_power(port, true);
		if (ret)
			return ret;
	}
	/* A slot may need some time after it was switched on. */
	do {
		sleep_ns(10 * NSEC_PER_MSEC);
		ret = write_file("/sys/bus/pci/rescan", "1");
		if (ret)
			return ret;
	} while (access(path("/sys/bus/pci/devices/%s", pci), F_OK) && now_ns() < end);
	return gpu_wait(gpu, GPU_PATIENCE_NS) ? 0 : -ENODEV;
}

/* Every ioctl says that the device is gone. */
static void check_gone(struct __test_metadata *_metadata, int fd)
{
	struct drm_rust_gpu_message_counters counters;
	struct drm_rust_gpu_device_info info;
	struct gpu_version version;
	__u64 completed, submitted, fence;
	__u32 node;

	EXPECT_EQ(-ENODEV, gpu_info(fd, &info));
	EXPECT_EQ(-ENODEV, gpu_counters(fd, 0, &counters));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		EXPECT_EQ(-ENODEV, gpu_submit(fd, node, 1, 0, &fence));
		EXPECT_EQ(-ENODEV, gpu_wait_fence(fd, node, 1, now_ns() + NSEC_PER_SEC));
		EXPECT_EQ(-ENODEV, gpu_query(fd, node, &completed, &submitted));
	}
	EXPECT_EQ(-ENODEV, gpu_version(fd, &version));
}

static void start_workers(struct __test_metadata *_metadata, struct worker *workers,
			  const struct gpu *gpu, bool *stop)
{
	int i;

	for (i = 0; i < ROLES; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].role = i;
		workers[i].gpu = gpu;
		workers[i].stop = stop;
		workers[i].fd = open(i % 2 ? gpu->card : gpu->render, O_RDWR | O_CLOEXEC);
		ASSERT_GE(workers[i].fd, 0);
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, worker_thread,
					    &workers[i]));
	}
}

/* Waits until each worker has done a step. */
static void check_working(struct __test_metadata *_metadata, struct worker *workers)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	int i;

	for (i = 0; i < ROLES; i++) {
		while (!__atomic_load_n(&workers[i].done, __ATOMIC_RELAXED) &&
		       now_ns() < deadline)
			sleep_ns(NSEC_PER_MSEC);
		ASSERT_GT(__atomic_load_n(&workers[i].done, __ATOMIC_RELAXED), 0)
			TH_LOG("role %d", i);
	}
}

static void check_ended(struct __test_metadata *_metadata, struct worker *workers, __s64 start,
			enum kind kind)
{
	struct timespec limit;
	int i;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += GPU_PATIENCE_NS / NSEC_PER_SEC;
	for (i = 0; i < ROLES; i++) {
		struct worker *worker = &workers[i];

		ASSERT_EQ(0, pthread_timedjoin_np(worker->thread, NULL, &limit))
			TH_LOG("role %d hangs", i);
		if (worker->role >= READ_DEBUGFS)
			continue;
		/* The driver may find a device without power broken before it finds it gone. */
		if (kind == POWER_OFF && worker->error == -EIO)
			continue;
		EXPECT_EQ(-ENODEV, worker->error) TH_LOG("role %d", i);
		EXPECT_LT(worker->ended - start, GPU_PATIENCE_NS) TH_LOG("role %d", i);
	}
}

/* Waits until a timer of the test module got the answer that the device is gone. */
static void wait_for_timers(int test, struct rust_gpu_sync_test_read *read)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!gpu_ioctl(test, RUST_GPU_SYNC_TEST_READ, read) && !read->timers.unsuccessful &&
	       now_ns() < end)
		sleep_ns(NSEC_PER_MSEC);
}

static void one_round(struct __test_metadata *_metadata, struct subject *subject,
		      enum kind kind, __u64 *last_handle)
{
	struct rust_gpu_sync_test_call call = {};
	struct rust_gpu_sync_test_start timers = { .period_us = 5000, .burst = 2 };
	struct rust_gpu_sync_test_read read = {};
	struct drm_rust_gpu_device_info info;
	struct worker workers[ROLES];
	bool stop = false;
	__s64 start;
	int i, ret;

	start_workers(_metadata, workers, &subject->gpu, &stop);
	ASSERT_EQ(0, gpu_info(workers[0].fd, &info));
	EXPECT_GT(info.handle, *last_handle);
	*last_handle = info.handle;
	timers.handle = info.handle;
	timers.messages = info.messages;
	ASSERT_EQ(0, gpu_ioctl(subject->test, RUST_GPU_SYNC_TEST_START, &timers));
	check_working(_metadata, workers);

	if (kind == POWER_OFF) {
		ASSERT_EQ(0, port_power(subject->port, false));
		ASSERT_TRUE(reads_all_ones(&subject->gpu));
		/* Time for the workers to get stuck. */
		sleep_ns(300 * NSEC_PER_MSEC);
	}
	start = now_ns();
	ret = take_away(&subject->gpu, kind);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, ret);
	check_ended(_metadata, workers, start, kind);

	/* The timers find the device gone, and no routine runs any more. */
	read.handle = info.handle;
	wait_for_timers(subject->test, &read);
	ASSERT_EQ(0, gpu_ioctl(subject->test, RUST_GPU_SYNC_TEST_STOP, NULL));
	ASSERT_EQ(0, gpu_ioctl(subject->test, RUST_GPU_SYNC_TEST_READ, &read));
	EXPECT_EQ(RUST_GPU_STATUS_UNSUCCESSFUL, read.status);
	EXPECT_EQ(0, read.timers.mismatches);
	EXPECT_EQ(0, read.timers.invalid);
	EXPECT_GT(read.timers.unsuccessful, 0);
	call.handle = info.handle;
	ASSERT_EQ(0, gpu_ioctl(subject->test, RUST_GPU_SYNC_TEST_CALL, &call));
	EXPECT_EQ(RUST_GPU_STATUS_UNSUCCESSFUL, call.status);
	EXPECT_EQ(0, call.runs);

	for (i = 0; i < ROLES; i++)
		check_gone(_metadata, workers[i].fd);
	EXPECT_NE(0, access(path("/sys/kernel/debug/rust_gpu/%s", subject->gpu.pci), F_OK));
	EXPECT_NE(0, access(subject->gpu.render, F_OK));

	if (kind != SLOT_OFF) {
		ASSERT_EQ(0, bring_back(&subject->gpu, kind, subject->port));
		ret = open(subject->gpu.render, O_RDWR | O_CLOEXEC);
		ASSERT_GE(ret, 0);
		/* The new device works while files of the old one are open, which stays gone. */
		EXPECT_EQ(0, gpu_works(ret));
		check_gone(_metadata, workers[0].fd);
		close(ret);
	}
	for (i = 0; i < ROLES; i++)
		close(workers[i].fd);
}

TEST_F_TIMEOUT(removal, under_load, 800)
{
	const char *value = getenv("RUST_GPU_REMOVAL_ROUNDS");
	int round, rounds = value && atoi(value) > 0 ? atoi(value) : 10;
	__u64 last_handle = 0;

	if (variant->kind == SLOT_OFF)
		rounds = 1;
	for (round = 0; round < rounds; round++)
		one_round(_metadata, &self->subject, variant->kind, &last_handle);
}

TEST_HARNESS_MAIN
