// SPDX-License-Identifier: GPL-2.0
/*
 * A device hangs while the driver gets no memory: it is reset once, and the screen is restored
 * when there is memory again.
 *
 * Needs what failures.h needs, and CONFIG_FAULT_INJECTION's make-it-fail of other tasks.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "recover.h"
#include "failures.h"

#define MOST_ROUNDS	10
#define ROUNDS		gpu_rounds(3, MOST_ROUNDS)
#define WITHOUT_NS	(5 * NSEC_PER_SEC)
/* From the return of memory to the picture: by the median, and at the most. */
#define RESTORED_NS	NSEC_PER_SEC
#define LONGEST_NS	(5 * NSEC_PER_SEC)

static bool is_thread_of_driver(const char *pid)
{
	char name[64] = "";
	int fd = open(path("/proc/%s/comm", pid), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	close(fd);
	/* "rust_gpu", its other threads, and those of its interrupts, "irq/24-rust_gpu". */
	return strstr(name, "rust_gpu");
}

/* Marks the threads of the driver for failslab and fail_page_alloc. Returns how many, or -errno. */
static int mark_threads(bool on)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int ret, count = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    atoi(entry->d_name) == getpid() || !is_thread_of_driver(entry->d_name))
			continue;
		ret = write_file(path("/proc/%s/make-it-fail", entry->d_name), on ? "1" : "0");
		if (ret) {
			closedir(dir);
			return ret;
		}
		count++;
	}
	closedir(dir);
	return count;
}

/* Refuses all memory to the marked threads, or none. Returns 0 or -errno. */
static int refuse_memory(bool on)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc" };
	/* The filter stays: without it this process would get none either. */
	const struct { const char *file, *value; } settings[] = {
		{ "task-filter", "Y" },
		{ "times", "-1" },
		{ "probability", on ? "100" : "0" },
	};
	unsigned int kind, i;
	int ret = 0;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (i = 0; !ret && i < ARRAY_SIZE(settings); i++)
			ret = write_file(path("/sys/kernel/debug/%s/%s", kinds[kind],
					      settings[i].file), settings[i].value);
	}
	return ret;
}

/*
 * Is reset once without memory. Returns how long after the return of memory the picture is
 * right, or -errno.
 */
static __s64 restore_late(struct __test_metadata *_metadata)
{
	const __s64 resets = device_state(scene.screen, "resets");
	__s64 begin;
	int ret = refuse_memory(true);

	if (!ret) {
		EXPECT_EQ(0, device_ask(scene.screen, "needs-reset"));
		EXPECT_LE(0, wait_for_reset(resets));
		sleep_ns(WITHOUT_NS);
		/* Else this tests nothing. */
		EXPECT_FALSE(screen_shows(scene.screen, "recover", scene.display.head,
					  &scene.picture));
		EXPECT_EQ(resets + 1, device_state(scene.screen, "resets"));
	}
	ret = refuse_memory(false);
	begin = now_ns();
	if (!ret && !is_right())
		ret = -ENODATA;
	return ret ? ret : now_ns() - begin;
}

TEST_F_TIMEOUT(recover, without_memory, 600)
{
	__s64 times[MOST_ROUNDS];
	unsigned int i;
	int threads;

	if (!failures_prepare())
		SKIP(return, NO_FAILURES);
	threads = mark_threads(true);
	/* Those of submission, the watchdog and hotplug, and of at least one interrupt. */
	ASSERT_LE(4, threads);
	for (i = 0; i < ROUNDS; i++) {
		times[i] = restore_late(_metadata);
		ASSERT_LE(0, times[i]);
		TH_LOG("right %lld ms after memory is back", times[i] / NSEC_PER_MSEC);
	}
	EXPECT_EQ(threads, mark_threads(false));
	qsort(times, i, sizeof(*times), compare_times);
	EXPECT_GE(RESTORED_NS, times[i / 2]);
	EXPECT_GE(LONGEST_NS, times[i - 1]);
	check_stock(_metadata, &self->state, i);
}

TEST_HARNESS_MAIN
