// SPDX-License-Identifier: GPL-2.0
/*
 * A device with the firmware's framebuffer in its memory cannot be started, at each of
 * the steps at which that may fail: the console stays and draws what it should, and the
 * driver can be bound when there is nothing wrong any more.
 *
 * Environment: see display_screen.h
 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "display_device.h"
#include "failures.h"

#define MODULE		"rust_gpu_firmware_fb"
/* Longest that it takes until the driver gives up. */
#define PROBE_NS	(6 * NSEC_PER_SEC)
/* A device that answers so late is taken. */
#define LATE_NS		(3 * NSEC_PER_SEC)
/* The module's framebuffer. */
#define FB_SIZE		(4 * 320 * 200)
/* The part of it that is looked at, four lines of text: it is slow to read. */
#define SEEN_SIZE	(4 * 320 * 32)
/* Clears the console and hides its cursor, which would blink. */
#define CLEAR		"\033[2J\033[H\033[?25l"
/* How often the framebuffer is the same before it counts as drawn. */
#define STILL		3
/* More allocations than a probe makes. */
#define MANY		20000
/* The most of them after the framebuffer was taken over: in drm_dev_register(). */
#define REGISTERING	100

FIXTURE(firmware)
{
	int screen;
	char pci[32];
	/* The framebuffer, and what was in it. */
	__u8 *memory, *before;
	/* The same with nothing on the console but some text. */
	__u8 *text;
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

/* Writes to the console, and waits until @memory has been the same for a while. */
static void console_write(const char *text, const __u8 *memory, __u8 *before)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	unsigned int still = 0;

	write_file("/dev/tty1", text);
	while (still < STILL && now_ns() < end) {
		memcpy(before, memory, SEEN_SIZE);
		sleep_ns(20 * NSEC_PER_MSEC);
		still = memcmp(before, memory, SEEN_SIZE) ? 0 : still + 1;
	}
}

/* Draws the text on an empty console. */
static void console_draw(const __u8 *memory, __u8 *before)
{
	console_write(CLEAR, memory, before);
	console_write("one line of text\nand another\n", memory, before);
}

/* Whether the text is on the screen, or not, or soon: what draws the console may run late. */
static bool comes(const __u8 *memory, const __u8 *text, bool there)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!memcmp(memory, text, SEEN_SIZE) != there) {
		if (now_ns() > end)
			return false;
		sleep_ns(20 * NSEC_PER_MSEC);
	}
	return true;
}

/* Whether the console is drawn as before, pixel by pixel: empty, and then with the text. */
static bool console_draws(const __u8 *memory, __u8 *before, const __u8 *text)
{
	console_write(CLEAR, memory, before);
	if (!comes(memory, text, false))
		return false;
	console_draw(memory, before);
	return comes(memory, text, true);
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
	driver_unload();
	ASSERT_EQ(0, override(self->pci, "none"));
	ASSERT_EQ(0, driver_load());
	ASSERT_EQ(0, override(self->pci, "\n"));
	ASSERT_FALSE(is_bound(self->pci));
	ASSERT_EQ(0, module_load_file(path("%s/module/" MODULE ".ko", self_dir())));
	ASSERT_TRUE(has_simple());
	fd = open(path("/sys/bus/pci/devices/%s/resource0", self->pci), O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	self->memory = mmap(NULL, FB_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	close(fd);
	self->before = malloc(SEEN_SIZE);
	self->text = malloc(SEEN_SIZE);
	ASSERT_NE(NULL, self->before);
	ASSERT_NE(NULL, self->text);
	console_draw(self->memory, self->before);
	memcpy(self->text, self->memory, SEEN_SIZE);
	ASSERT_TRUE(console_draws(self->memory, self->before, self->text));
}

FIXTURE_TEARDOWN(firmware)
{
	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_is_sound(self->screen));
	driver_unload();
	EXPECT_EQ(0, module_unload(MODULE));
	free(self->before);
	free(self->text);
	munmap(self->memory, FB_SIZE);
	close(self->screen);
}

TEST_F_TIMEOUT(firmware, keeps_the_screen_of_a_silent_device, 120)
{
	const __s64 start = now_ns();
	__s64 took;

	ASSERT_EQ(0, device_ask(self->screen, "stall any"));
	EXPECT_EQ(-ETIMEDOUT, bind_driver(self->pci));
	took = now_ns() - start;
	TH_LOG("given up after %lld ms", took / NSEC_PER_MSEC);
	EXPECT_LE(took, PROBE_NS);
	EXPECT_FALSE(is_bound(self->pci));
	EXPECT_TRUE(has_simple());
	EXPECT_TRUE(console_draws(self->memory, self->before, self->text));

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

	ASSERT_EQ(0, device_ask(self->screen, "stall any"));
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

/* What is wrong with the device, in the order in which the driver finds it. */
static const struct { const char *fault; int error; } faults[] = {
	{ "version", -ENODEV },
	/* After a probe that failed: a device that was never used has nothing to reset. */
	{ "reset", -ETIMEDOUT },
	{ "features", -ENODEV },
	{ "size", -EINVAL },
	{ "generation", -EIO },
	{ "heads", -EINVAL },
	{ "queue", -ENOENT },
	{ "message", -EBUSY },
	{ "notify", -EINVAL },
	{ "enable", -EIO },
};

TEST_F_TIMEOUT(firmware, keeps_the_screen_of_a_faulty_device, 300)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		ASSERT_EQ(0, device_ask(self->screen, "fault %s", faults[i].fault));
		EXPECT_EQ(faults[i].error, bind_driver(self->pci)) TH_LOG("%s", faults[i].fault);
		EXPECT_TRUE(has_simple()) TH_LOG("%s", faults[i].fault);
		EXPECT_TRUE(console_draws(self->memory, self->before, self->text))
			TH_LOG("%s", faults[i].fault);
		ASSERT_EQ(0, device_resume(self->screen));
	}
	ASSERT_EQ(0, bind_driver(self->pci));
	EXPECT_FALSE(has_simple());
}

/* A file that binds the driver, and the device. */
struct bind_file {
	int fd;
	const char *pci;
};

static int write_bind(const void *data)
{
	const struct bind_file *bind = data;

	return write(bind->fd, bind->pci, strlen(bind->pci)) < 0 ? -errno : 0;
}

/* Binds the driver, with its allocation number @nth refused; see run_without(). */
static int bind_without(const char *pci, unsigned int nth, bool *refused)
{
	const struct bind_file bind = {
		.fd = open("/sys/bus/pci/drivers/rust_gpu/bind", O_WRONLY | O_CLOEXEC),
		.pci = pci,
	};
	int ret = run_without(write_bind, &bind, nth, refused);

	close(bind.fd);
	return ret;
}

/*
 * Each allocation of the probe is refused once, or each 7th. The framebuffer is only lost to
 * those at its end, in the registration of the DRM device.
 */
TEST_F_TIMEOUT(firmware, keeps_the_screen_without_memory, 1800)
{
	const unsigned int step = gpu_rounds(7, 1);
	unsigned int nth, failed = 0, lost = 0, first = 0;
	bool refused = true;
	char file[PATH_MAX];
	int ret;

	if (!failures_prepare())
		SKIP(return, NO_FAILURES);
	snprintf(file, sizeof(file), "%s/module/" MODULE ".ko", self_dir());
	/*
	 * Enabled before, so that the probe does not route its interrupt: ACPICA does not
	 * survive a lack of memory there.
	 */
	ASSERT_EQ(0, write_file(path("/sys/bus/pci/devices/%s/enable", self->pci), "1"));
	for (nth = 1; refused && nth < MANY; nth += step) {
		ret = bind_without(self->pci, nth, &refused);
		failed += !!ret;
		if (has_simple()) {
			ASSERT_NE(0, ret) TH_LOG("allocation %u", nth);
			if (!console_draws(self->memory, self->before, self->text)) {
				EXPECT_TRUE(false) TH_LOG("allocation %u: %d", nth, ret);
				break;
			}
			continue;
		}
		if (ret) {
			lost++;
			first = first ?: nth;
		} else {
			/* It could do without, or there was no such allocation. */
			ASSERT_EQ(0, write_file("/sys/bus/pci/drivers/rust_gpu/unbind", self->pci));
		}
		/* As at first. */
		ASSERT_EQ(0, module_unload(MODULE));
		ASSERT_EQ(0, module_load_file(file));
		ASSERT_TRUE(has_simple());
	}
	EXPECT_EQ(0, write_file(path("/sys/bus/pci/devices/%s/enable", self->pci), "0"));
	EXPECT_FALSE(refused);
	TH_LOG("%u allocations, each %u.: %u probes failed, %u after the takeover, from %u on",
	       nth, step, failed, lost, first);
	EXPECT_LT(100 / step, failed);
	EXPECT_LE(lost, REGISTERING);
}

TEST_HARNESS_MAIN
