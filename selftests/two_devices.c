// SPDX-License-Identifier: GPL-2.0
/*
 * Two devices, of which one stalls before, in or after the change of a size: the other
 * one is unbound as quickly as ever.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "tdr.h"

#define ROUNDS		5
/* How much longer it may take to unbind the device that works. */
#define LONGER_NS	(200 * NSEC_PER_MSEC)
/* Until the thread for the change is where it waits. */
#define CHANGE_NS	(500 * NSEC_PER_MSEC)

FIXTURE(two_devices)
{
	struct gpu ours, other;
	int screen;
};

FIXTURE_VARIANT(two_devices)
{
	const char *type;	/* of the command at which ours stalls */
	bool before;		/* it stands still before the change */
};

FIXTURE_VARIANT_ADD(two_devices, before_a_change)
{
	.type = "any",
	.before = true,
};

FIXTURE_VARIANT_ADD(two_devices, in_its_first_question)
{
	.type = "display-info",
};

FIXTURE_VARIANT_ADD(two_devices, in_its_second_question)
{
	.type = "edid",
};

/* The console gets the new size. */
FIXTURE_VARIANT_ADD(two_devices, after_a_change)
{
	.type = "scanout",
};

/* Finds the next device that the driver is bound to, from @slot on. */
static bool find_from(unsigned int slot, struct gpu *gpu)
{
	char name[64];

	for (; slot < 32; slot++) {
		snprintf(gpu->pci, sizeof(gpu->pci), "0000:00:%02x.0", slot);
		if (link_name(path("/sys/bus/pci/devices/%s/driver", gpu->pci), name,
			      sizeof(name)) && !strcmp(name, "rust_gpu"))
			return true;
	}
	return false;
}

static unsigned int slot_of(const struct gpu *gpu)
{
	return strtoul(gpu->pci + strlen("0000:00:"), NULL, 16);
}

/* Gives a device a packet, which does nothing. Returns 0 or -errno. */
static int give_packet(const struct gpu *gpu)
{
	DIR *dir = opendir(path("/sys/bus/pci/devices/%s/drm", gpu->pci));
	int fd = -ENODEV, ret;
	struct dirent *entry;
	__u64 fence;

	while (dir && fd < 0 && (entry = readdir(dir))) {
		if (!strncmp(entry->d_name, "renderD", 7))
			fd = open(path("/dev/dri/%s", entry->d_name), O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	if (fd < 0)
		return -ENODEV;
	ret = gpu_submit(fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence);
	close(fd);
	return ret < 0 ? ret : 0;
}

static int bind_again(const struct gpu *gpu)
{
	return write_file("/sys/bus/pci/drivers/rust_gpu/bind", gpu->pci);
}

FIXTURE_SETUP(two_devices)
{
	struct gpu gpu;
	__s64 resets;

	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&gpu), NO_GPU);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	resets = device_state(self->screen, "resets");
	REQUIRE(return, resets >= 0, NO_OWN_DEVICE);
	REQUIRE(return, find_from(0, &self->ours) &&
		find_from(slot_of(&self->ours) + 1, &self->other), "there is one device");
	/* Ours is the one that notices when it loses its driver. */
	ASSERT_EQ(0, gpu_unbind(&self->ours));
	if (device_state(self->screen, "resets") == resets) {
		gpu = self->ours;
		self->ours = self->other;
		self->other = gpu;
		ASSERT_EQ(0, bind_again(&self->other));
	} else {
		ASSERT_EQ(0, bind_again(&self->ours));
	}
}

FIXTURE_TEARDOWN(two_devices)
{
	char answer[64];

	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_wait(self->screen, "held-control", 0));
	EXPECT_EQ(0, screen_ask(self->screen, answer, sizeof(answer), "resize 1280 800"));
	EXPECT_TRUE(device_is_sound(self->screen));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	close(self->screen);
}

/* Unbinds the other device, and binds it again. Returns how long the first took, or -errno. */
static __s64 time_unbind(const struct gpu *gpu)
{
	const __s64 start = now_ns();
	int ret = gpu_unbind(gpu);
	const __s64 took = now_ns() - start;

	if (!ret)
		ret = bind_again(gpu);
	return ret ? ret : took;
}

/* Asks for a size that is another one each time. Returns 0 or -errno. */
static int change_size(int screen)
{
	static unsigned int width = 1000;
	char answer[64];

	width += 16;
	return screen_ask(screen, answer, sizeof(answer), "resize %u 700", width);
}

TEST_F_TIMEOUT(two_devices, do_not_wait_for_each_other, 180)
{
	__s64 healthy = 0, took, longest = 0;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		took = time_unbind(&self->other);
		ASSERT_LE(0, took);
		healthy = larger(healthy, took);
	}
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, device_ask(self->screen, "stall %s", variant->type));
		if (variant->before) {
			ASSERT_EQ(0, give_packet(&self->ours));
			ASSERT_TRUE(device_wait(self->screen, "held-control", 1));
		}
		ASSERT_EQ(0, change_size(self->screen));
		ASSERT_TRUE(device_wait(self->screen, "held-control", 1));
		sleep_ns(i * CHANGE_NS);
		took = time_unbind(&self->other);
		/* If it waits for ours, it does so again. A busy host does not. */
		if (took > healthy + LONGER_NS)
			took = time_unbind(&self->other);
		ASSERT_LE(0, took);
		longest = larger(longest, took);
		EXPECT_EQ(1, device_state(self->screen, "held-control"));
		ASSERT_EQ(0, device_resume(self->screen));
		ASSERT_TRUE(device_wait(self->screen, "held-control", 0));
	}
	TH_LOG("unbound after %lld ms at the most, while the other stalls %lld ms",
	       healthy / NSEC_PER_MSEC, longest / NSEC_PER_MSEC);
	EXPECT_LE(longest, healthy + LONGER_NS);
}

TEST_HARNESS_MAIN
