// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what the display costs with the driver that is bound to the device: rust_gpu
 * or the C driver.
 *
 * Environment: see display_screen.h
 */
#include <signal.h>

#include "bench_count.h"
#include "display_bench.h"
#include "display_footprint.h"

#define LATENCIES	60
#define FLIP_SECONDS	10

static const struct operation operations[] = {
	{ "flip", run_flip, 40, true, true },
	{ "flip 64x64", run_flip_part, 40, true, true },
	{ "dirtyfb 64x64", run_dirtyfb, 40, true, true },
	{ "modeset", run_modeset, 20, true, true },
	{ "cursor move", run_cursor_move, 50, false, false },
	{ "cursor image", run_cursor_image, 50, false, false },
	{ "life cycle", run_life_cycle, 20, false, true },
};

/* Returns the doorbells that the host has seen since the last call, or -errno. */
static long screen_kicks(struct bench *bench)
{
	char answer[64];
	int ret = screen_ask(bench->screen, answer, sizeof(answer), "kicks");
	long kicks;

	if (ret)
		return ret;
	return sscanf(answer, "kicks %ld", &kicks) == 1 ? kicks : -EPROTO;
}

/* Asks the host to trace doorbells, marks and flushes, or to stop. */
static int screen_measure(int screen, bool on)
{
	char answer[64];

	return screen_ask(screen, answer, sizeof(answer), "measure %s", on ? "on" : "off");
}

static const struct {
	unsigned int width, height;
} sizes[] = { { 1024, 768 }, { 3840, 2160 } };

/* Group counts: what each operation costs. */
static void bench_counts(struct bench *bench)
{
	struct count count = { .report = &bench->report, .kicks = screen_kicks };
	unsigned int size, i;
	int ret;

	ret = screen_measure(bench->screen, true);
	if (ret) {
		fail(&bench->report, "counts", "the host does not count doorbells");
		return;
	}
	if (!count_check(&count, bench))
		return;
	for (size = 0; size < ARRAY_SIZE(sizes); size++) {
		ret = bench_show(bench, sizes[size].width, sizes[size].height);
		if (!ret && !size)
			ret = show_cursor(bench);
		if (ret)
			fail(&bench->report, "counts", strerror(-ret));
		for (i = 0; i < ARRAY_SIZE(operations) && !ret; i++) {
			const struct operation *operation = &operations[i];

			if (operation->sized || !size)
				count_operation(&count, bench, operation,
						sized(bench, operation->name, operation->sized));
		}
		if (!size)
			hide_cursor(bench);
		bench_hide(bench);
	}
	screen_measure(bench->screen, false);
}

/* Times operations without a pause between them. */
static void time_operation(struct bench *bench, const struct operation *operation)
{
	const char *what = sized(bench, operation->name, operation->sized);
	struct drm_get_cap cap = { .capability = DRM_CAP_ASYNC_PAGE_FLIP };
	__s64 start;
	int ret;

	if (operation->run == run_async_flip &&
	    (gpu_ioctl(bench->display.fd, DRM_IOCTL_GET_CAP, &cap) || !cap.value)) {
		printf("# %s: %s: the driver has none\n", bench->report.driver, what);
		return;
	}
	ret = repeat(bench, operation, 0, 4, 0);
	start = now_ns();
	if (!ret)
		ret = repeat(bench, operation, 0, operation->times, 0);
	if (ret)
		fail(&bench->report, what, strerror(-ret));
	else
		tell(&bench->report, what, "us", (now_ns() - start) / 1e3 / operation->times);
	sleep_ns(300 * NSEC_PER_MSEC);
}

/* Prints the time from each mark to the first command of a kind after it. */
static void tell_latency(struct bench *bench, const struct operation *operation, const char *kind)
{
	const char *what = path("ioctl to %s, %s", kind,
				sized(bench, operation->name, operation->sized));
	double times[LATENCIES + 1];
	char answer[4096], *word, *save;
	unsigned int count = 0;
	int ret = screen_ask(bench->screen, answer, sizeof(answer), "latency %s", kind);

	if (ret) {
		fail(&bench->report, what, strerror(-ret));
		return;
	}
	strtok_r(answer, " ", &save);
	while ((word = strtok_r(NULL, " ", &save)) && count < LATENCIES)
		times[count++] = atof(word);
	if (count < LATENCIES / 2)
		fail(&bench->report, what, "the host has not seen it");
	else
		tell(&bench->report, what, "us", median(times, count));
}

/*
 * Times the device: from the ioctl to the transfer, and to the flush. Before each ioctl
 * the guest writes a mark to an unused register of the host bridge. QEMU traces these
 * writes and the commands, each with its time.
 */
static void time_commands(struct bench *bench, const struct operation *operation)
{
	int ret = screen_measure(bench->screen, true);
	unsigned int i;

	for (i = 0; i < LATENCIES && !ret; i++) {
		/* After this no flip waits for a vblank. */
		sleep_ns(20 * NSEC_PER_MSEC);
		if (pwrite(bench->mark, &(__u8){ i }, 1, 0x3c) != 1)
			ret = -errno;
		else
			ret = operation->run(bench, i + 1);
	}
	if (ret) {
		fail(&bench->report, operation->name, strerror(-ret));
	} else {
		tell_latency(bench, operation, "transfer");
		tell_latency(bench, operation, "flush");
	}
	screen_measure(bench->screen, false);
}

/* Group time: operations that do not wait for vblanks. */
static void bench_time(struct bench *bench)
{
	static const struct operation paced[] = {
		{ "flip", run_flip, 0, true, true },
		{ "flip 64x64", run_flip_part, 0, true, true },
		{ "dirtyfb 64x64", run_dirtyfb, 0, true, true },
	};
	static const struct operation timed[] = {
		{ "cursor move", run_cursor_move, 1000, false, false },
		{ "cursor image", run_cursor_image, 200, false, false },
		{ "life cycle", run_life_cycle, 100, false, true },
		{ "async flip", run_async_flip, 100, false, true },
	};
	unsigned int size, i;
	int ret;

	for (size = 0; size < ARRAY_SIZE(sizes); size++) {
		ret = bench_show(bench, sizes[size].width, sizes[size].height);
		if (!ret && !size)
			ret = show_cursor(bench);
		if (ret)
			fail(&bench->report, "time", strerror(-ret));
		for (i = 0; i < ARRAY_SIZE(timed) && !ret; i++) {
			if (timed[i].sized || !size)
				time_operation(bench, &timed[i]);
		}
		for (i = 0; i < ARRAY_SIZE(paced) && !ret; i++)
			time_commands(bench, &paced[i]);
		if (!size)
			hide_cursor(bench);
		bench_hide(bench);
	}
}

/* Group flips: missed vblanks while all CPUs are busy. */
static void bench_flips(struct bench *bench)
{
	pid_t children[64];
	unsigned int count = cpus_online(), flips = 0, i;
	struct drm_event_vblank first, event;
	__s64 end;
	int ret = bench_show(bench, sizes[0].width, sizes[0].height);

	for (i = 0; i < count && i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (!children[i])
			for (;;)
				known_loop(1000000);
	}
	count = i;
	if (!ret)
		ret = flip(bench, 0, &first);
	end = now_ns() + FLIP_SECONDS * NSEC_PER_SEC;
	for (; !ret && now_ns() < end; flips++)
		ret = flip(bench, 0, &event);
	for (i = 0; i < count; i++) {
		if (children[i] <= 0)
			continue;
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	if (ret) {
		fail(&bench->report, "flips", strerror(-ret));
	} else {
		tell(&bench->report, "flips in 10 s, all CPUs busy", "flips", flips);
		tell(&bench->report, "flips in 10 s, all CPUs busy", "missed vblanks",
		     event.sequence - first.sequence - flips);
	}
	bench_hide(bench);
}

/* Group memory. */
static void bench_memory(struct bench *bench)
{
	const char *reason = measure_buffers(bench);

	if (reason)
		fail(&bench->report, "memory of a buffer", reason);
	reason = measure_device(bench);
	if (reason)
		fail(&bench->report, "memory of a device", reason);
}

static const struct group groups[] = {
	{ "counts", bench_counts },
	{ "time", bench_time },
	{ "flips", bench_flips },
	{ "memory", bench_memory },
};

static void print_help(FILE *stream)
{
	fputs("Usage: display_bench [-m] [GROUP]...\n"
	      "Measures what the display of the virtio GPU costs with the driver that is bound\n"
	      "to it, in these groups or in all:\n\n"
	      "  counts  instructions, doorbells and interrupts of each operation; on a machine with\n"
	      "          one CPU, of QEMU with -icount shift=0,sleep=off\n"
	      "  time    time of operations that wait for no vblank, and of commands until the\n"
	      "          device executes them\n"
	      "  flips   missed vblanks in 10 s of flips while all CPUs are busy\n"
	      "  memory  of the idle device, and of a buffer; the device is unbound and bound again\n\n"
	      "  -m, --machine  one line for each figure: =, driver, what, unit, value; with tabs\n"
	      "  -h, --help     print this text\n\n"
	      "RUST_GPU_SCREEN names the serial port on which the host reports the commands.\n\n"
	      "Exit status: 0 all was measured, 1 something was not, 2 wrong usage, 4 there is\n"
	      "nothing to measure.\n", stream);
}

int main(int argc, char **argv)
{
	struct bench bench = { .screen = -1 };
	unsigned int wanted, i;
	const char *reason;

	if (wants_help(argc, argv)) {
		print_help(stdout);
		return 0;
	}
	wanted = parse(argc, argv, &bench.report, groups, ARRAY_SIZE(groups));
	if (!wanted) {
		print_help(stderr);
		return 2;
	}
	reason = geteuid() ? "not root" : bench_open(&bench);
	if (!reason) {
		bench.screen = screen_open();
		bench.mark = open("/sys/bus/pci/devices/0000:00:00.0/config", O_RDWR | O_CLOEXEC);
		if (bench.screen < 0)
			reason = NO_SCREEN;
		else if (bench.mark < 0)
			reason = "no host bridge";
	}
	if (reason) {
		fprintf(stderr, "display_bench: %s\n", reason);
		return 4;
	}
	if (!bench.report.machine)
		printf("%s on %s\n", bench.report.driver, bench.pci);
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (wanted & 1 << i)
			groups[i].run(&bench);
	}
	return bench.report.failed;
}
