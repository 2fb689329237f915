// SPDX-License-Identifier: GPL-2.0
/*
 * A device that was reset leaves a dump of what the driver knew: no payload, and not too long.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <ctype.h>

#include "recover.h"

#define DUMPS		"/sys/class/devcoredump"
#define DUMP_SIZE	16384

/* Finds the dump of the device; its file in @name. Returns whether there is one. */
static bool find_dump(const struct gpu *gpu, char *name, size_t size)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir = opendir(DUMPS);
	char device[64];

	while (dir && !found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "devcd", 5))
			continue;
		found = link_name(path(DUMPS "/%s/failing_device", entry->d_name), device,
				  sizeof(device)) && !strcmp(device, gpu->pci);
		snprintf(name, size, DUMPS "/%s/data", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Waits until there is a dump, or none. */
static bool wait_for_dump(const struct gpu *gpu, bool wanted, char *name, size_t size)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (find_dump(gpu, name, size) != wanted) {
		if (now_ns() > end)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

/* Has the dump deleted, if there is one. */
static bool drop_dump(const struct gpu *gpu)
{
	char name[PATH_MAX];

	return !find_dump(gpu, name, sizeof(name)) ||
	       (!write_file(name, "1") && wait_for_dump(gpu, false, name, sizeof(name)));
}

/* Whether the text is one of the driver's, line by line, and nothing else. */
static bool is_sound(const char *text)
{
	static const char *const starts[] = {
		"cause: ", "time: ", "status: ", "features: ", "policy: ", "watchdog: ",
		"resources: ", "memory: ", "node ", "message ", "ring ", "  in flight: ",
		"  command: #", "truncated\n",
	};
	static const char first[] = "rust_gpu dump 1\n";
	const char *line = text + strlen(first), *c;
	unsigned int i;

	if (strncmp(text, first, strlen(first)))
		return false;
	for (c = text; *c; c++) {
		if (*c != '\n' && !isprint(*c))
			return false;
	}
	for (; *line; line = strchr(line, '\n') + 1) {
		for (i = 0; i < ARRAY_SIZE(starts); i++) {
			if (!strncmp(line, starts[i], strlen(starts[i])))
				break;
		}
		if (i == ARRAY_SIZE(starts) || !strchr(line, '\n')) {
			fprintf(stderr, "# %s\n", line);
			return false;
		}
	}
	return true;
}

static char text[DUMP_SIZE + 2], again[DUMP_SIZE + 2];

/* The device hangs at a transfer. */
TEST_F_TIMEOUT(recover, leaves_a_dump, 120)
{
	static const char *const wanted[] = {
		"\ncause: Control queue hangs\n", "\nstatus: 0x0f\n", "\nnode Control: ",
		"\nnode Cursor: ", "\nnode Software: ", "\nnode Render: ", "\nmessage 0: ",
		"\nring Control: size ", "\nring Cursor: size ", "TransferToHost2d id ",
		": no answer\n", ": 0x1100 24\n", " stalled\n", "\n  in flight: #",
	};
	const struct gpu *gpu = &self->state.gpu;
	struct drm_event_vblank event;
	unsigned int i;
	char name[PATH_MAX];
	ssize_t len;

	if (access(DUMPS, R_OK))
		SKIP(return, "the kernel has no dumps (CONFIG_DEV_COREDUMP)");
	ASSERT_TRUE(drop_dump(gpu));
	ASSERT_EQ(0, device_ask(scene.screen, "hang transfer"));
	ASSERT_EQ(0, draw_new());
	ASSERT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	EXPECT_TRUE(is_right());
	ASSERT_TRUE(wait_for_dump(gpu, true, name, sizeof(name)));
	len = read_file(name, text, sizeof(text));
	ASSERT_LT(0, len);
	TH_LOG("%zd bytes", len);
	EXPECT_LE(len, DUMP_SIZE);
	EXPECT_EQ(len, strlen(text));
	EXPECT_TRUE(is_sound(text));
	for (i = 0; i < ARRAY_SIZE(wanted); i++)
		EXPECT_NE(NULL, strstr(text, wanted[i])) TH_LOG("%s", wanted[i]);

	/* The next one comes when this one is gone. */
	ASSERT_EQ(0, device_resume(scene.screen));
	ASSERT_EQ(0, reset_once());
	sleep_ns(NSEC_PER_SEC);
	EXPECT_LT(0, read_file(name, again, sizeof(again)));
	EXPECT_STREQ(text, again);
	ASSERT_TRUE(drop_dump(gpu));
	ASSERT_EQ(0, reset_once());
	ASSERT_TRUE(wait_for_dump(gpu, true, name, sizeof(name)));
	EXPECT_LT(0, read_file(name, again, sizeof(again)));
	EXPECT_TRUE(is_sound(again));
	EXPECT_NE(NULL, strstr(again, "\ncause: Control queue is broken: "));
	EXPECT_NE(NULL, strstr(again, "\nstatus: 0x4f\n"));
	EXPECT_NE(NULL, strstr(again, ": lost\n"));
	check_stock(_metadata, &self->state, 3);
	ASSERT_TRUE(drop_dump(gpu));
}

TEST_HARNESS_MAIN
