// SPDX-License-Identifier: GPL-2.0
/*
 * A device with the firmware's framebuffer in its memory does not answer when the driver
 * is bound: the console stays, and the driver can be bound when the device answers.
 *
 * Environment: see display_screen.h
 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "display_device.h"

#define MODULE		"rust_gpu_firmware_fb"
/* Longest that it takes until the driver gives up. */
#define PROBE_NS	(6 * NSEC_PER_SEC)
/* A device that answers so late is taken. */
#define LATE_NS		(3 * NSEC_PER_SEC)
/* The module's framebuffer. */
#define FB_SIZE		(4 * 320 * 200)

static const char *const load_driver[] = { "modprobe", "rust_gpu", NULL };
static const char *const unload_driver[] = { "modprobe", "-r", "rust_gpu", NULL };

FIXTURE(firmware)
{
	int screen;
	char pci[32];
	__u8 *memory, *before;
};

/* Finds the device with memory for a framebuffer. Returns false if there is none. */
static bool find_function(char *pci, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;
	char text[4096];
	struct stat bar;

	while (dir && !found && (entry = readdir(dir))) {
		const char *uevent = path("/sys/bus/pci/devices/%s/uevent", entry->d_name);
		const char *memory = path("/sys/bus/pci/devices/%s/resource0", entry->d_name);

		found = read_file(uevent, text, sizeof(text)) > 0 &&
			strstr(text, "PCI_ID=1AF4:1050") && !stat(memory, &bar) &&
			bar.st_size >= FB_SIZE;
		if (found)
			snprintf(pci, size, "%.31s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Lets only a driver of this name be bound, or any. Returns 0 or -errno. */
static int override(const char *pci, const char *name)
{
	return write_file(path("/sys/bus/pci/devices/%s/driver_override", pci), name);
}

/* Binds the driver. Returns 0 or -errno. */
static int bind_driver(const char *pci)
{
	return write_file("/sys/bus/pci/drivers/rust_gpu/bind", pci);
}

/* Whether the driver has the device. */
static bool is_bound(const char *pci)
{
	char name[64];

	return link_name(path("/sys/bus/pci/devices/%s/driver", pci), name, sizeof(name)) &&
	       !strcmp(name, "rust_gpu");
}

/* Whether the firmware's framebuffer has its driver. */
static bool has_simple(void)
{
	char text[4096];

	return read_file("/proc/fb", text, sizeof(text)) > 0 && strstr(text, "simple");
}

/* Whether text that is written to the console arrives in @memory, soon. */
static bool console_shows(const __u8 *memory, __u8 *before)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	bool differs;

	memcpy(before, memory, FB_SIZE);
	write_file("/dev/tty1", "one line more\nand another\n");
	do {
		sleep_ns(100 * NSEC_PER_MSEC);
		differs = memcmp(before, memory, FB_SIZE) != 0;
	} while (!differs && now_ns() < end);
	return differs;
}

FIXTURE_SETUP(firmware)
{
	int fd;

	REQUIRE(return, !geteuid(), "not root");
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
	REQUIRE(return, find_function(self->pci, sizeof(self->pci)),
		"the device has no memory for a framebuffer");
	/* The driver is there and has no device. */
	run_program(unload_driver);
	ASSERT_EQ(0, override(self->pci, "none"));
	ASSERT_EQ(0, run_program(load_driver));
	ASSERT_EQ(0, override(self->pci, "\n"));
	ASSERT_FALSE(is_bound(self->pci));
	ASSERT_EQ(0, module_load_file(path("%s/module/" MODULE ".ko", self_dir())));
	ASSERT_TRUE(has_simple());
	fd = open(path("/sys/bus/pci/devices/%s/resource0", self->pci), O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	self->memory = mmap(NULL, FB_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	close(fd);
	self->before = malloc(FB_SIZE);
	ASSERT_NE(NULL, self->before);
	ASSERT_TRUE(console_shows(self->memory, self->before));
	ASSERT_EQ(0, device_ask(self->screen, "stall any"));
}

FIXTURE_TEARDOWN(firmware)
{
	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_is_sound(self->screen));
	run_program(unload_driver);
	EXPECT_EQ(0, module_unload(MODULE));
	free(self->before);
	munmap(self->memory, FB_SIZE);
	close(self->screen);
}

TEST_F_TIMEOUT(firmware, keeps_the_screen_of_a_silent_device, 120)
{
	const __s64 start = now_ns();
	__s64 took;

	EXPECT_EQ(-ETIMEDOUT, bind_driver(self->pci));
	took = now_ns() - start;
	TH_LOG("given up after %lld ms", took / NSEC_PER_MSEC);
	EXPECT_LE(took, PROBE_NS);
	EXPECT_FALSE(is_bound(self->pci));
	EXPECT_TRUE(has_simple());
	EXPECT_TRUE(console_shows(self->memory, self->before));

	ASSERT_EQ(0, device_resume(self->screen));
	ASSERT_EQ(0, bind_driver(self->pci));
	EXPECT_TRUE(is_bound(self->pci));
	EXPECT_FALSE(has_simple());
	EXPECT_LT(0, device_state(self->screen, "attached"));
}

TEST_F_TIMEOUT(firmware, gives_way_to_a_late_device, 120)
{
	const __s64 start = now_ns();
	int status;
	pid_t child;
	__s64 took;

	child = fork();
	if (!child) {
		sleep_ns(LATE_NS);
		_exit(device_resume(self->screen) != 0);
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(0, bind_driver(self->pci));
	took = now_ns() - start;
	TH_LOG("bound after %lld ms", took / NSEC_PER_MSEC);
	EXPECT_LE(took, PROBE_NS);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(is_bound(self->pci));
	EXPECT_FALSE(has_simple());
	EXPECT_LT(0, device_state(self->screen, "attached"));
}

TEST_HARNESS_MAIN
