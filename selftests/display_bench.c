// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what the display costs, with whichever driver has the device: the same
 * program for the C driver and for rust_gpu.
 *
 * Environment: see display_screen.h
 */
#include <signal.h>

#include "display_bench.h"
#include "display_count.h"
#include "display_footprint.h"

#define LATENCIES	60
#define FLIP_SECONDS	10

/* Time for the device to be done, between operations that wait for nothing. */
#define PAUSE_NS	(5 * NSEC_PER_MSEC)

static const struct operation operations[] = {
	{ "flip", run_flip, 40, true, true },
	{ "flip 64x64", run_flip_part, 40, true, true },
	{ "dirtyfb 64x64", run_dirtyfb, 40, true, true },
	{ "modeset", run_modeset, 20, true, true },
	{ "cursor move", run_cursor_move, 50, false, false },
	{ "cursor image", run_cursor_image, 50, false, false },
	{ "life cycle", run_life_cycle, 20, false, true },
};

static int repeat(struct scene *scene, const struct operation *operation, unsigned int from,
		  unsigned int times, __s64 pause)
{
	unsigned int i;
	int ret = 0;

	for (i = from; i < from + times && !ret; i++) {
		ret = operation->run(scene, i);
		if (pause)
			sleep_ns(pause);
	}
	return ret;
}

/* Instructions, doorbells and interrupts of one operation. */
static int count_one(struct scene *scene, const struct counter *counter,
		     const struct operation *operation, double *instructions, double *kicks,
		     double *interrupts)
{
	__s64 pause = operation->paced ? 0 : PAUSE_NS;
	struct moment from, to;
	long rung;
	int ret;

	/* What comes the first time only, and an even number of them. */
	ret = repeat(scene, operation, 0, 4, pause);
	sleep_ns(100 * NSEC_PER_MSEC);
	if (!ret)
		ret = screen_kicks(scene->screen);
	if (ret < 0)
		return ret;
	from = counter_begin(counter);
	ret = repeat(scene, operation, 0, operation->times, pause);
	to = counter_end(counter);
	sleep_ns(100 * NSEC_PER_MSEC);
	to.interrupts = device_interrupts();
	rung = screen_kicks(scene->screen);
	if (ret || rung < 0)
		return ret ? ret : rung;
	*instructions = counter_spent(counter, &from, &to) / operation->times;
	*kicks = (double)rung / operation->times;
	*interrupts = (double)(to.interrupts - from.interrupts) / operation->times;
	return 0;
}

static void count_operation(struct scene *scene, struct counter *counter,
			    const struct operation *operation, double pause)
{
	const char *what = sized(scene, operation->name, operation->sized);
	const char *reason = counter_start(counter);
	double instructions, kicks, interrupts;
	int ret;

	if (reason) {
		fail(scene, what, reason);
		return;
	}
	ret = count_one(scene, counter, operation, &instructions, &kicks, &interrupts);
	counter_stop(counter);
	if (ret) {
		fail(scene, what, strerror(-ret));
		return;
	}
	tell(scene, what, "instructions", instructions - (operation->paced ? 0 : pause));
	tell(scene, what, "kicks", kicks);
	tell(scene, what, "interrupts", interrupts);
}

/* How the counting does with instructions that are known, and what the pauses cost. */
static bool count_check(struct scene *scene, struct counter *counter, double *pause)
{
	const struct operation nothing = { "pause", run_nothing, 50, false, false };
	double known, kicks, interrupts;
	const char *reason = counter_calibrate(counter, &known);
	int ret;

	if (!reason)
		reason = counter_start(counter);
	if (reason) {
		fail(scene, "instructions", reason);
		return false;
	}
	ret = count_one(scene, counter, &nothing, pause, &kicks, &interrupts);
	counter_stop(counter);
	if (ret) {
		fail(scene, "a pause", strerror(-ret));
		return false;
	}
	printf("# %s: instructions of the spare loop %.0f, of a pause %.0f\n", scene->driver,
	       counter->loop, *pause);
	printf("# %s: the idle machine takes %.3f %%; a million instructions count as %.0f\n",
	       scene->driver, counter->background * 100, known);
	return true;
}

static const struct {
	unsigned int width, height;
} sizes[] = { { 1024, 768 }, { 3840, 2160 } };

/* Group counts: what each operation costs. */
static void bench_counts(struct scene *scene)
{
	struct counter counter;
	unsigned int size, i;
	double pause;
	int ret;

	ret = screen_measure(scene->screen, true);
	if (ret) {
		fail(scene, "counts", "the host does not count doorbells");
		return;
	}
	if (!count_check(scene, &counter, &pause))
		return;
	for (size = 0; size < ARRAY_SIZE(sizes); size++) {
		ret = scene_show(scene, sizes[size].width, sizes[size].height);
		if (!ret && !size)
			ret = show_cursor(scene);
		if (ret)
			fail(scene, "counts", strerror(-ret));
		for (i = 0; i < ARRAY_SIZE(operations) && !ret; i++) {
			if (operations[i].sized || !size)
				count_operation(scene, &counter, &operations[i], pause);
		}
		if (!size)
			hide_cursor(scene);
		scene_hide(scene);
	}
	screen_measure(scene->screen, false);
}

/* Time of operations that follow each other at once. */
static void time_operation(struct scene *scene, const struct operation *operation)
{
	const char *what = sized(scene, operation->name, operation->sized);
	struct drm_get_cap cap = { .capability = DRM_CAP_ASYNC_PAGE_FLIP };
	__s64 start;
	int ret;

	if (operation->run == run_async_flip &&
	    (gpu_ioctl(scene->display.fd, DRM_IOCTL_GET_CAP, &cap) || !cap.value)) {
		printf("# %s: %s: the driver has none\n", scene->driver, what);
		return;
	}
	ret = repeat(scene, operation, 0, 4, 0);
	start = now_ns();
	if (!ret)
		ret = repeat(scene, operation, 0, operation->times, 0);
	if (ret)
		fail(scene, what, strerror(-ret));
	else
		tell(scene, what, "us", (now_ns() - start) / 1e3 / operation->times);
	sleep_ns(300 * NSEC_PER_MSEC);
}

/* Prints how long it took from the marks to the first command of a kind that followed. */
static void tell_latency(struct scene *scene, const struct operation *operation, const char *kind)
{
	const char *what = path("ioctl to %s, %s", kind,
				sized(scene, operation->name, operation->sized));
	double times[LATENCIES + 1];
	char answer[4096], *word, *save;
	unsigned int count = 0;
	int ret = screen_ask(scene->screen, answer, sizeof(answer), path("latency %s", kind));

	if (ret) {
		fail(scene, what, strerror(-ret));
		return;
	}
	strtok_r(answer, " ", &save);
	while ((word = strtok_r(NULL, " ", &save)) && count < LATENCIES)
		times[count++] = atof(word);
	if (count < LATENCIES / 2)
		fail(scene, what, "the host has not seen it");
	else
		tell(scene, what, "us", median(times, count));
}

/*
 * Time from the ioctl to the device at work on the transfer, and on the flush. Before
 * each ioctl the guest writes to a register of the host bridge that nobody reads: a
 * write that QEMU traces with its time, as it does with the commands.
 */
static void time_commands(struct scene *scene, const struct operation *operation)
{
	int ret = screen_measure(scene->screen, true);
	unsigned int i;

	for (i = 0; i < LATENCIES && !ret; i++) {
		/* No vblank is waited for any more. */
		sleep_ns(20 * NSEC_PER_MSEC);
		if (pwrite(scene->mark, &(__u8){ i }, 1, 0x3c) != 1)
			ret = -errno;
		else
			ret = operation->run(scene, i + 1);
	}
	if (ret) {
		fail(scene, operation->name, strerror(-ret));
	} else {
		tell_latency(scene, operation, "transfer");
		tell_latency(scene, operation, "flush");
	}
	screen_measure(scene->screen, false);
}

/* Group time: what nothing paces. */
static void bench_time(struct scene *scene)
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
		ret = scene_show(scene, sizes[size].width, sizes[size].height);
		if (!ret && !size)
			ret = show_cursor(scene);
		if (ret)
			fail(scene, "time", strerror(-ret));
		for (i = 0; i < ARRAY_SIZE(timed) && !ret; i++) {
			if (timed[i].sized || !size)
				time_operation(scene, &timed[i]);
		}
		for (i = 0; i < ARRAY_SIZE(paced) && !ret; i++)
			time_commands(scene, &paced[i]);
		if (!size)
			hide_cursor(scene);
		scene_hide(scene);
	}
}

/* Group flips: vblanks that were missed while each CPU was busy with something else. */
static void bench_flips(struct scene *scene)
{
	pid_t children[64];
	unsigned int count = cpus_online(), flips = 0, i;
	struct drm_event_vblank first, event;
	__s64 end;
	int ret = scene_show(scene, sizes[0].width, sizes[0].height);

	for (i = 0; i < count && i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (!children[i])
			for (;;)
				known_loop(1000000);
	}
	count = i;
	if (!ret)
		ret = flip(scene, 0, &first);
	end = now_ns() + FLIP_SECONDS * NSEC_PER_SEC;
	for (; !ret && now_ns() < end; flips++)
		ret = flip(scene, 0, &event);
	for (i = 0; i < count; i++) {
		if (children[i] <= 0)
			continue;
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	if (ret) {
		fail(scene, "flips", strerror(-ret));
	} else {
		tell(scene, "flips in 10 s, all CPUs busy", "flips", flips);
		tell(scene, "flips in 10 s, all CPUs busy", "missed vblanks",
		     event.sequence - first.sequence - flips);
	}
	scene_hide(scene);
}

/* Group memory. */
static void bench_memory(struct scene *scene)
{
	const char *reason = measure_buffers(scene);

	if (reason)
		fail(scene, "memory of a buffer", reason);
	reason = measure_device(scene);
	if (reason)
		fail(scene, "memory of a device", reason);
}

static const struct group {
	const char *name;
	void (*run)(struct scene *scene);
} groups[] = {
	{ "counts", bench_counts },
	{ "time", bench_time },
	{ "flips", bench_flips },
	{ "memory", bench_memory },
};

static void print_help(FILE *stream)
{
	fputs("Usage: display_bench [-m] [GROUP]...\n"
	      "Measures what the display of the virtio GPU costs, with the driver that has it. Of\n"
	      "these groups, or of all:\n\n"
	      "  counts  instructions, doorbells and interrupts of each operation; on a machine with\n"
	      "          one CPU, of QEMU with -icount shift=0,sleep=off\n"
	      "  time    time of operations that wait for no vblank, and until a flush arrives\n"
	      "  flips   missed vblanks in 10 s of flips while all CPUs are busy\n"
	      "  memory  of the idle device, and of a buffer; the device is unbound and bound again\n\n"
	      "  -m, --machine  one line for each figure: =, driver, what, unit, value; with tabs\n"
	      "  -h, --help     print this text\n\n"
	      "RUST_GPU_SCREEN names the serial port on which the host tells what the device got.\n\n"
	      "Exit status: 0 all was measured, 1 something was not, 2 wrong usage, 4 there is\n"
	      "nothing to measure.\n", stream);
}

/* Which groups are wanted, as bits; 0 for wrong usage. */
static unsigned int parse(int argc, char **argv, struct scene *scene)
{
	unsigned int wanted = 0, i;
	int word;

	for (word = 1; word < argc; word++) {
		if (!strcmp(argv[word], "-m") || !strcmp(argv[word], "--machine")) {
			scene->machine = true;
			continue;
		}
		for (i = 0; i < ARRAY_SIZE(groups) && strcmp(argv[word], groups[i].name); i++)
			;
		if (i == ARRAY_SIZE(groups))
			return 0;
		wanted |= 1 << i;
	}
	return wanted ? wanted : (1 << ARRAY_SIZE(groups)) - 1;
}

int main(int argc, char **argv)
{
	struct scene scene = { .screen = -1 };
	unsigned int wanted, i;
	const char *reason;

	if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
		print_help(stdout);
		return 0;
	}
	wanted = parse(argc, argv, &scene);
	if (!wanted) {
		print_help(stderr);
		return 2;
	}
	reason = geteuid() ? "not root" : scene_open(&scene);
	if (!reason) {
		scene.screen = screen_open();
		scene.mark = open("/sys/bus/pci/devices/0000:00:00.0/config", O_RDWR | O_CLOEXEC);
		if (scene.screen < 0)
			reason = NO_SCREEN;
		else if (scene.mark < 0)
			reason = "no host bridge";
	}
	if (reason) {
		fprintf(stderr, "display_bench: %s\n", reason);
		return 4;
	}
	if (!scene.machine)
		printf("%s on %s\n", scene.driver, scene.pci);
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (wanted & 1 << i)
			groups[i].run(&scene);
	}
	return scene.failed;
}
