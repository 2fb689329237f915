// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what 3D costs with the driver that is bound to a device of our own: rust_gpu or
 * the C driver.
 *
 * Environment: see display_screen.h
 */
#define RENDER_IS_NO_TEST

#include "bench_count.h"
#include "render.h"

#define CLIENTS		8
#define CLIENTS_TIME_NS	(2 * NSEC_PER_SEC)
#define CLIENTS_COUNT_NS	(NSEC_PER_SEC / 2)
#define WORDS		4
#define LARGE		(16384 / sizeof(__u32))
#define TRANSFER_SIDE	64
#define OTHERS		1000
#define CALLS		101
#define ROUND_TRIPS	500

struct bench {
	struct report report;
	struct render render;
	int fd;				/* a client */
	struct bo bo;
	__u32 words[LARGE];		/* that mean nothing */
	__u32 others[OTHERS];
	unsigned int other_count;
	__s64 kicks;
};

static int run_submit(struct bench *bench, __maybe_unused unsigned int i)
{
	return submit_words(bench->fd, bench->words, WORDS);
}

static int run_large(struct bench *bench, __maybe_unused unsigned int i)
{
	return submit_words(bench->fd, bench->words, LARGE);
}

static int run_round_trip(struct bench *bench, __maybe_unused unsigned int i)
{
	int ret = submit_bo(bench->fd, bench->bo.handle, bench->words, WORDS);

	return ret ? ret : bo_wait(bench->fd, bench->bo.handle, 0);
}

static int run_transfer(struct bench *bench, __maybe_unused unsigned int i)
{
	int ret = bo_transfer(bench->fd, bench->bo.handle, TRANSFER_SIDE, true);

	return ret ? ret : bo_wait(bench->fd, bench->bo.handle, 0);
}

/* The pause after it is time enough for the host to let go of the object. */
static int run_life(struct bench *bench, __maybe_unused unsigned int i)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int ret = resource_create(bench->fd, &create);

	return ret ? ret : gem_close(bench->fd, create.bo_handle);
}

static const struct operation operations[] = {
	{ "submit", run_submit, 100, false, false },
	{ "execbuffer 16 KiB", run_large, 100, false, false },
	{ "submit and wait", run_round_trip, 200, true, false },
	{ "transfer 64x64 and wait", run_transfer, 200, true, false },
	{ "create and destroy", run_life, 50, false, false },
};

static const char clients[] = "8 clients: submit and wait";
static const struct operation beside = { "create beside 1000", run_life, 50, false, false };

/* What is one ioctl, which does not wait. The device may interrupt it for the answer. */
static const struct operation calls[] = {
	{ "ioctl: submit", run_submit, CALLS, false, false },
	{ "ioctl: execbuffer 16 KiB", run_large, CALLS, false, false },
};

/* Opens a device that a driver was just bound to, and a client of it. */
static const char *bench_open(struct bench *bench)
{
	const __s64 deadline = now_ns() + GPU_PATIENCE_NS;
	const char *reason;

	while ((reason = render_begin(&bench->render, true)) && now_ns() < deadline) {
		render_end(&bench->render);
		sleep_ns(50 * NSEC_PER_MSEC);
	}
	if (reason)
		return reason;
	snprintf(bench->report.driver, sizeof(bench->report.driver), "%s",
		 bench->render.rust ? "rust_gpu" : "virtio_gpu");
	bench->fd = client_open();
	if (bench->fd < 0 || bo_create(bench->fd, &bench->bo, TRANSFER_SIDE))
		return "no client";
	return run_round_trip(bench, 0) ? "nothing can be submitted" : NULL;
}

/* Returns the doorbells that the device has seen since the last call, or -errno. */
static long count_kicks(struct bench *bench)
{
	const __s64 last = bench->kicks, kicks = device_state(bench->render.screen, "kicks");

	if (kicks < 0)
		return kicks;
	bench->kicks = kicks;
	return kicks - last;
}

/* Makes objects that stay open. Returns 0 or -errno. */
static int open_others(struct bench *bench)
{
	int ret = 0;

	while (bench->other_count < OTHERS && !ret) {
		struct drm_virtgpu_resource_create create = picture_of(SIDE);

		ret = resource_create(bench->fd, &create);
		if (!ret)
			bench->others[bench->other_count++] = create.bo_handle;
	}
	return ret ? ret : run_round_trip(bench, 0);
}

static void close_others(struct bench *bench)
{
	while (bench->other_count)
		gem_close(bench->fd, bench->others[--bench->other_count]);
}

/* The median of the times that one call takes, with a pause after each, in ns; or -errno. */
static double time_call(struct bench *bench, const struct operation *operation)
{
	double times[CALLS];
	unsigned int i;

	for (i = 0; i < CALLS; i++) {
		const __s64 start = now_ns();
		int ret = operation->run(bench, i);

		times[i] = now_ns() - start;
		if (ret)
			return ret;
		sleep_ns(PAUSE_NS);
	}
	return median(times, CALLS);
}

/* A client that submits and waits from @start on for so many ns. */
static int run_client(__s64 start, __s64 ns, unsigned int *done)
{
	struct bench client = { .fd = client_open() };
	int ret = client.fd < 0 ? client.fd : bo_create(client.fd, &client.bo, SIDE);

	if (!ret)
		ret = run_round_trip(&client, 0);
	sleep_ns(start - now_ns());
	while (!ret && now_ns() < start + ns) {
		ret = run_round_trip(&client, 0);
		(*done)++;
	}
	return ret;
}

/* Lets processes submit and wait at the same time. Returns how often they did, or -errno. */
static int run_clients(__s64 ns)
{
	const __s64 start = now_ns() + NSEC_PER_SEC;
	unsigned int *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				  -1, 0);
	pid_t children[CLIENTS];
	int i, status, sum = 0;
	bool failed = false;

	if (done == MAP_FAILED)
		return -errno;
	for (i = 0; i < CLIENTS; i++) {
		children[i] = fork();
		if (!children[i])
			_exit(run_client(start, ns, &done[i]) != 0);
	}
	for (i = 0; i < CLIENTS; i++) {
		failed |= waitpid(children[i], &status, 0) != children[i] || status;
		sum += done[i];
	}
	munmap(done, PAGE);
	return failed || !sum ? -EIO : sum;
}

/* Counts what a submission of many clients costs. */
static void count_clients(struct count *count)
{
	const char *reason = counter_start(&count->counter);
	struct moment from, to;
	int done;

	if (reason) {
		fail(count->report, clients, reason);
		return;
	}
	from = counter_begin(&count->counter);
	done = run_clients(CLIENTS_COUNT_NS);
	to = counter_end(&count->counter);
	counter_stop(&count->counter);
	if (done < 0)
		fail(count->report, clients, strerror(-done));
	else
		tell(count->report, clients, "instructions",
		     counter_spent(&count->counter, &from, &to) / done);
}

/* Group counts: what each operation costs. */
static void bench_counts(struct bench *bench)
{
	struct count count = { .report = &bench->report, .kicks = count_kicks };
	const int screen = bench->render.screen;
	const __s64 resources = device_state(screen, "resources");
	unsigned int i;
	int ret;

	if (!count_check(&count, bench))
		return;
	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		/* So that the client sleeps each time, also if the host is fast today. */
		if (operations[i].paced)
			device_ask(screen, "slow any 1");
		count_operation(&count, bench, &operations[i], operations[i].name);
		device_resume(screen);
	}
	count_clients(&count);
	ret = open_others(bench);
	if (ret)
		fail(&bench->report, beside.name, strerror(-ret));
	else
		count_operation(&count, bench, &beside, beside.name);
	close_others(bench);
	if (!device_wait(screen, "resources", resources) || !device_is_sound(screen))
		fail(&bench->report, "counts", "the device has something left");
}

static void time_operation(struct bench *bench, const struct operation *operation)
{
	__s64 start;
	int ret = repeat(bench, operation, 0, 4, 0);

	start = now_ns();
	if (!ret)
		ret = repeat(bench, operation, 0, operation->times, 0);
	if (ret)
		fail(&bench->report, operation->name, strerror(-ret));
	else
		tell(&bench->report, operation->name, "us",
		     (now_ns() - start) / 1e3 / operation->times);
}

/* Group time: one client. */
static void bench_time(struct bench *bench)
{
	static const struct operation timed[] = {
		{ "submit and wait", run_round_trip, ROUND_TRIPS, true, false },
		{ "transfer 64x64 and wait", run_transfer, ROUND_TRIPS, true, false },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(timed); i++)
		time_operation(bench, &timed[i]);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		double ns = time_call(bench, &calls[i]);

		if (ns < 0)
			fail(&bench->report, calls[i].name, strerror(-ns));
		else
			tell(&bench->report, calls[i].name, "us", ns / 1e3);
	}
}

/* Group clients: processes that submit and wait at the same time. */
static void bench_clients(struct bench *bench)
{
	__u64 interrupts = device_interrupts();
	long kicks = count_kicks(bench);
	int done = kicks < 0 ? kicks : run_clients(CLIENTS_TIME_NS);

	interrupts = device_interrupts() - interrupts;
	kicks = count_kicks(bench);
	if (done < 0 || kicks < 0) {
		fail(&bench->report, clients, strerror(done < 0 ? -done : -kicks));
		return;
	}
	tell(&bench->report, clients, "us", CLIENTS_TIME_NS / 1e3 / done);
	tell(&bench->report, clients, "kicks", (double)kicks / done);
	tell(&bench->report, clients, "interrupts", (double)interrupts / done);
}

static const struct group groups[] = {
	{ "counts", bench_counts },
	{ "time", bench_time },
	{ "clients", bench_clients },
};

static void print_help(FILE *stream)
{
	fputs("Usage: render_bench [-m] [GROUP]...\n"
	      "Measures what 3D of a virtio GPU costs with the driver that is bound to it, in these\n"
	      "groups or in all. The device has to be our own (selftests/device), with 3D:\n\n"
	      "  counts   instructions, doorbells and interrupts of each operation; on a machine with\n"
	      "           one CPU, of QEMU with -icount shift=0,sleep=off\n"
	      "  time     time of operations and calls\n"
	      "  clients  time, doorbells and interrupts of a submission when 8 processes submit and\n"
	      "           wait\n\n"
	      "  -m, --machine  one line for each figure: =, driver, what, unit, value; with tabs\n"
	      "  -h, --help     print this text\n\n"
	      "RUST_GPU_SCREEN names the serial port on which the host reports the commands.\n\n"
	      "Exit status: 0 all was measured, 1 something was not, 2 wrong usage, 4 there is\n"
	      "nothing to measure.\n", stream);
}

int main(int argc, char **argv)
{
	static struct bench bench;
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
	reason = bench_open(&bench);
	if (reason) {
		fprintf(stderr, "render_bench: %s\n", reason);
		return 4;
	}
	if (!bench.report.machine)
		printf("%s\n", bench.report.driver);
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (wanted & 1 << i)
			groups[i].run(&bench);
	}
	render_end(&bench.render);
	return bench.report.failed;
}
