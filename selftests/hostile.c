// SPDX-License-Identifier: GPL-2.0
/*
 * A device that violates the protocol is declared broken, with one line in the log, and
 * works again after it is bound again. Nothing waits forever for a device that has
 * stopped. This program plays the device: it finds the control queue in the common
 * configuration, and writes to the ring's memory as the device would.
 */
#include "kselftest_harness.h"
#include "display_kms.h"
#include "kernel_log.h"
#include "pci_function.h"
#include "rust_gpu_test.h"
#include "tdr.h"

/* virtio 1.3, 4.1.4. */
#define COMMON_CFG		1
#define NOTIFY_CFG		2
#define COMMON_STATUS		0x14
#define COMMON_QUEUE_SELECT	0x16
#define COMMON_QUEUE_SIZE	0x18
#define COMMON_QUEUE_NOTIFY_OFF	0x1e
#define COMMON_QUEUE_DRIVER	0x28
#define COMMON_QUEUE_DEVICE	0x30
#define STATUS_NEEDS_RESET	0x40

/* More often than this in a second means that the DPC asks for itself. */
#define BUSY_DPCS	100

#define CONTROL_QUEUE	0
/* Both rings: flags, index, elements. */
#define RING_INDEX	2
#define RING_ELEMENTS	4

/* The control queue as the device sees it. */
struct device {
	__u8 *common, *notify;
	__u64 driver_area, device_area;
	__u16 size;
	/* physical memory */
	int memory;
};

/* Registers are read and written once, and whole. */
static __u8 read8(__u8 *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static __u16 read16(__u8 *at)
{
	return __atomic_load_n((__u16 *)at, __ATOMIC_RELAXED);
}

static void write16(__u8 *at, __u16 value)
{
	__atomic_store_n((__u16 *)at, value, __ATOMIC_RELEASE);
}

static __u64 read64(__u8 *at)
{
	return __atomic_load_n((__u32 *)at, __ATOMIC_RELAXED) |
	       (__u64)__atomic_load_n((__u32 *)(at + 4), __ATOMIC_RELAXED) << 32;
}

static bool device_open(const struct gpu *gpu, struct device *device)
{
	struct capability capability;

	device->memory = open("/dev/mem", O_RDWR | O_CLOEXEC);
	if (device->memory < 0 || !find_capability(gpu, PCI_CAP_ID_VNDR, COMMON_CFG, &capability))
		return false;
	device->common = map_structure(gpu, capability.bar, capability.offset);
	if (!device->common)
		return false;
	write16(device->common + COMMON_QUEUE_SELECT, CONTROL_QUEUE);
	device->size = read16(device->common + COMMON_QUEUE_SIZE);
	device->driver_area = read64(device->common + COMMON_QUEUE_DRIVER);
	device->device_area = read64(device->common + COMMON_QUEUE_DEVICE);
	if (!find_capability(gpu, PCI_CAP_ID_VNDR, NOTIFY_CFG, &capability))
		return false;
	device->notify = map_structure(gpu, capability.bar, capability.offset +
				       (__u64)capability.multiplier *
				       read16(device->common + COMMON_QUEUE_NOTIFY_OFF));
	return device->notify && device->size && device->driver_area && device->device_area;
}

static void device_close(struct device *device)
{
	unmap_structure(device->common);
	unmap_structure(device->notify);
	if (device->memory >= 0)
		close(device->memory);
}

static bool read_memory(struct device *device, __u64 address, void *data, size_t len)
{
	return pread(device->memory, data, len, address) == (ssize_t)len;
}

static bool write_memory(struct device *device, __u64 address, const void *data, size_t len)
{
	return pwrite(device->memory, data, len, address) == (ssize_t)len;
}

/* Moves an index of the ring too far. */
static bool move_index(struct device *device, __u64 area, __u16 by)
{
	__u16 index;

	if (!read_memory(device, area + RING_INDEX, &index, sizeof(index)))
		return false;
	index += by;
	return write_memory(device, area + RING_INDEX, &index, sizeof(index));
}

/*
 * Overwrites all elements of the available ring with an invalid descriptor. With a
 * wrong index the device would take old elements, whose buffers have other owners now.
 */
static bool spoil_elements(struct device *device)
{
	const __u16 none = 0xffff;
	unsigned int i;

	for (i = 0; i < device->size; i++) {
		if (!write_memory(device, device->driver_area + RING_ELEMENTS + i * sizeof(none),
				  &none, sizeof(none)))
			return false;
	}
	return true;
}

/*
 * QEMU's device stops and asks for a reset when the available ring is wrong. It reads
 * the ring some time after the doorbell, and by then the driver may have written the
 * right index again, for the console. So this tries more than once.
 */
static bool ask_for_reset(struct device *device)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!(read8(device->common + COMMON_STATUS) & STATUS_NEEDS_RESET)) {
		if (now_ns() > end || !spoil_elements(device) ||
		    !move_index(device, device->driver_area, 1))
			return false;
		write16(device->notify, CONTROL_QUEUE);
		sleep_ns(5 * NSEC_PER_MSEC);
	}
	return true;
}

static bool move_used_index(struct device *device)
{
	return move_index(device, device->device_area, 1000);
}

/* Reads the descriptor that was made available last. */
static bool last_id(struct device *device, __u16 *id)
{
	__u16 index;

	if (!read_memory(device, device->driver_area + RING_INDEX, &index, sizeof(index)))
		return false;
	index--;
	return read_memory(device, device->driver_area + RING_ELEMENTS +
			   index % device->size * sizeof(*id), id, sizeof(*id));
}

static bool use_element(struct device *device, __u32 id, __u32 len)
{
	const struct {
		__u32 id, len;
	} element = { id, len };
	__u16 index;

	return read_memory(device, device->device_area + RING_INDEX, &index, sizeof(index)) &&
	       write_memory(device, device->device_area + RING_ELEMENTS +
			    index % device->size * sizeof(element), &element, sizeof(element)) &&
	       move_index(device, device->device_area, 1);
}

static bool use_id_out_of_range(struct device *device)
{
	return use_element(device, 0xdeadbeef, 24);
}

static bool use_id_not_in_flight(struct device *device)
{
	__u16 id;

	return last_id(device, &id) &&
	       use_element(device, (id + device->size / 2) % device->size, 24);
}

static bool use_too_much(struct device *device)
{
	__u16 id;

	return last_id(device, &id) && use_element(device, id, 1 << 20);
}

FIXTURE(hostile)
{
	struct gpu gpu;
	struct device device;
	int fd, log;
};

FIXTURE_VARIANT(hostile)
{
	/* The device has a packet that it does not execute. */
	bool in_flight;
	bool (*act)(struct device *device);
	const char *line;
};

FIXTURE_VARIANT_ADD(hostile, needs_reset)
{
	.act = ask_for_reset,
	.line = "device needs reset",
};

FIXTURE_VARIANT_ADD(hostile, used_index)
{
	.act = move_used_index,
	.line = "used index ahead",
};

FIXTURE_VARIANT_ADD(hostile, id_out_of_range)
{
	.in_flight = true,
	.act = use_id_out_of_range,
	.line = "used id out of range",
};

FIXTURE_VARIANT_ADD(hostile, id_not_in_flight)
{
	.in_flight = true,
	.act = use_id_not_in_flight,
	.line = "used id not in flight",
};

FIXTURE_VARIANT_ADD(hostile, length)
{
	.in_flight = true,
	.act = use_too_much,
	.line = "used length exceeds",
};

/* The device only stops. */
FIXTURE_VARIANT_ADD(hostile, stalled)
{
	.in_flight = true,
};

FIXTURE_SETUP(hostile)
{
	const char *reason;

	self->log = -1;
	self->device.memory = -1;
	reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	if (access("/dev/mem", F_OK))
		SKIP(return, "no /dev/mem (CONFIG_DEVMEM)");
	if (!access(path("/sys/bus/pci/devices/%s/iommu", self->gpu.pci), F_OK))
		SKIP(return, "the device's addresses are translated by an IOMMU");
	/* A broken device stays broken. */
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	ASSERT_EQ(0, gpu_works(self->fd));
	ASSERT_TRUE(device_open(&self->gpu, &self->device));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
}

FIXTURE_TEARDOWN(hostile)
{
	struct gpu gpu = self->gpu;

	device_close(&self->device);
	if (self->log >= 0)
		close(self->log);
	if (self->fd >= 0)
		close(self->fd);
	/* Also after a test that failed: the next one needs a working device. */
	if (gpu.pci[0]) {
		gpu_rebind(&gpu);
		tdr_level(TDR_RECOVER);
	}
}

/* Waits until the driver finds the device broken. Returns 0 or -errno. */
static int wait_until_broken(int fd)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__u64 completed, submitted;
	int ret;

	do {
		/* Polls the ring, so no interrupt is needed. */
		ret = gpu_query(fd, RUST_GPU_NODE_CONTROL, &completed, &submitted);
		if (ret >= 0)
			ret = gpu_submit(fd, RUST_GPU_NODE_CONTROL, 1, RUST_GPU_SUBMIT_NONBLOCK,
					 &submitted);
		sleep_ns(10 * NSEC_PER_MSEC);
	} while (ret >= 0 && now_ns() < end);
	return ret == -EIO ? 0 : ret < 0 ? ret : -ETIME;
}

/* Counts the new lines of the log that have @text. */
static unsigned int count_lines(int log, const char *text)
{
	unsigned int found = 0;
	char line[1024];

	while (next_record(log, line, sizeof(line)))
		found += strstr(line, "queue is broken") && strstr(line, text);
	return found;
}

/* As count_lines(), but waits for the first line: it comes after the error. */
static unsigned int wait_for_line(int log, const char *text)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	unsigned int found;

	do {
		found = count_lines(log, text);
		sleep_ns(10 * NSEC_PER_MSEC);
	} while (!found && now_ns() < end);
	return found;
}

/* Starts a client that waits for an hour. Returns its process. */
static pid_t start_waiting(int fd, __u64 fence)
{
	pid_t child = fork();

	if (!child) {
		gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, fence,
			       now_ns() + 3600 * NSEC_PER_SEC);
		_exit(0);
	}
	return child;
}

/* A wait ends at its deadline, and a process that waits can be killed. */
static void check_stalled(struct __test_metadata *_metadata, int fd, __u64 fence)
{
	__s64 start = now_ns();
	pid_t child;
	int status;

	EXPECT_EQ(-ETIME, gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, fence,
					 start + NSEC_PER_SEC));
	EXPECT_LT(now_ns() - start, NSEC_PER_SEC + GPU_PATIENCE_NS);
	EXPECT_GE(now_ns() - start, NSEC_PER_SEC);

	child = start_waiting(fd, fence);
	ASSERT_GT(child, 0);
	sleep_ns(200 * NSEC_PER_MSEC);
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	start = now_ns();
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_LT(now_ns() - start, GPU_PATIENCE_NS);
}

TEST_F_TIMEOUT(hostile, is_survived, 120)
{
	__u64 fence = 0;
	__s64 start;
	__u32 node;

	if (variant->in_flight) {
		ASSERT_EQ(0, gpu_quiesce(self->fd));
		/* It does nothing by itself from here on, and cannot interrupt. */
		ASSERT_EQ(0, set_bus_master(&self->gpu, false));
		ASSERT_EQ(1, gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence));
	}
	if (variant->act) {
		ASSERT_TRUE(variant->act(&self->device));
		ASSERT_EQ(0, wait_until_broken(self->fd));
		for (node = 0; node < GPU_NULL_NODES; node++) {
			EXPECT_EQ(-EIO, gpu_submit(self->fd, node, 1, 0, &fence))
				TH_LOG("node %u", node);
		}
		EXPECT_EQ(1, wait_for_line(self->log, variant->line));
	} else {
		check_stalled(_metadata, self->fd, fence);
	}
	start = now_ns();
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_LT(now_ns() - start, GPU_PATIENCE_NS);
	/* There is no second line. */
	if (variant->act)
		EXPECT_EQ(0, count_lines(self->log, variant->line));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	close(self->fd);
	self->fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	EXPECT_EQ(0, gpu_works(self->fd));
}

/* The pointer moves on a broken device. Nothing waits for that by trying again and again. */
TEST_F_TIMEOUT(hostile, leaves_the_cpu_alone, 120)
{
	struct drm_rust_gpu_message_counters before, after;
	struct frame frame, cursor;
	struct display display;
	int x;

	if (variant->act != ask_for_reset)
		SKIP(return, "one way to break is enough");
	ASSERT_TRUE(!display_open(&display));
	ASSERT_EQ(0, frame_create(display.fd, &frame, display.mode.hdisplay,
				  display.mode.vdisplay));
	ASSERT_EQ(0, set_crtc(&display, frame.fb, &display.mode, 0, 0));
	ASSERT_EQ(0, buffer_create(display.fd, &cursor, CURSOR_SIDE, CURSOR_SIDE));
	ASSERT_EQ(0, cursor_set(&display, DRM_MODE_CURSOR_BO, cursor.handle, 0, 0));
	ASSERT_EQ(0, gpu_quiesce(self->fd));
	ASSERT_TRUE(variant->act(&self->device));
	ASSERT_EQ(0, wait_until_broken(self->fd));

	for (x = 0; x < 5; x++) {
		cursor_set(&display, DRM_MODE_CURSOR_MOVE, 0, x, 0);
		sleep_ns(30 * NSEC_PER_MSEC);
	}
	ASSERT_EQ(0, gpu_counters(self->fd, 0, &before));
	sleep_ns(NSEC_PER_SEC);
	ASSERT_EQ(0, gpu_counters(self->fd, 0, &after));
	EXPECT_LT(after.dpcs_run - before.dpcs_run, BUSY_DPCS);
	frame_destroy(display.fd, &cursor);
	frame_destroy(display.fd, &frame);
	close(display.fd);
}

TEST_HARNESS_MAIN
