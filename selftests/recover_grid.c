// SPDX-License-Identifier: GPL-2.0
/*
 * Each way to end something, in each state of a device that hangs: it takes no longer than
 * on one that works, the kernel's log is clean, and afterwards the device works.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 *   RUST_GPU_SEED=NUMBER	of the random numbers
 *   RUST_GPU_STATE=NAME	the state in which "reboot" ends the system
 */
#include <sys/reboot.h>

#include "recover.h"
#include "system_sleep.h"

#define RANDOM_CELLS	gpu_rounds(6, 50)
/* Longest that something may take, besides what it takes on purpose. */
#define END_NS		(2 * NSEC_PER_SEC)
/* While the device is probed, or its reset takes so long. */
#define PROBE_NS	(6 * NSEC_PER_SEC)
#define RESET_MS	800
/* Each command of a restore, and of a probe. */
#define RESTORE_MS	700
#define PROBE_MS	400
#define SLEEP_NS	(4 * NSEC_PER_SEC)

enum grid_state {
	LOOK, DOORBELL, PREEMPTING, COLLECTING, RESETTING, RESTORING, WAITING, BROKEN, PROBING,
	STATES
};

static const char *const state_names[] = {
	"look", "doorbell", "preempt", "collect", "reset", "restore", "waiting", "broken",
	"probing",
};

enum way { UNBIND, REMOVE, SLEEP, KILL, UNLOAD, PANIC, WAYS };

static const char *const way_names[] = {
	"unbind", "remove", "sleep", "kill", "unload", "panic",
};

/* A process that is killed: it draws, or binds the driver. */
static pid_t child;
/* The service of the host, also after the client has ended. */
static int host;

static void flip_for_ever(void)
{
	struct drm_event_vblank event;
	unsigned int i;

	for (i = 0; ; i++)
		flip_and_wait(&scene.display, frames[i % 2].fb, 0, &event);
}

/* Draws until the device hangs at that, and waits for so long. Returns 0 or -errno. */
static int hang_for(unsigned int milliseconds)
{
	int ret = device_ask(host, "hang any");

	if (!ret)
		ret = show_image();
	if (!ret && !device_wait(host, "fired", 1))
		ret = -ETIMEDOUT;
	sleep_ns(milliseconds * NSEC_PER_MSEC);
	return ret;
}

/* The driver is bound by another process, and the device takes its time. */
static int begin_probe(struct state *state)
{
	int ret;

	end_client(state);
	ret = gpu_unbind(&state->gpu);
	if (!ret)
		ret = device_ask(host, "slow any %u", PROBE_MS);
	if (ret)
		return ret;
	child = fork();
	if (!child)
		_exit(write_file("/sys/bus/pci/drivers/rust_gpu/bind", state->gpu.pci) != 0);
	sleep_ns(100 * NSEC_PER_MSEC + rand() % 500 * NSEC_PER_MSEC);
	return 0;
}

/* The driver kicks a device that does not go on. */
static bool is_kicked(const struct state *state)
{
	return read_watchdog(&state->gpu).stalled > 0;
}

/* A preemption is not answered. */
static bool is_preempting(const struct state *state)
{
	char text[256];

	return read_file(path("/sys/kernel/debug/rust_gpu/%s/preempt", state->gpu.pci), text,
			 sizeof(text)) > 0 && strstr(text, " 1\n");
}

/* Waits until something is so of the driver, and then for a while. Returns 0 or -errno. */
static int wait_until(const struct state *state, bool (*is_so)(const struct state *state),
		      unsigned int milliseconds)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!is_so(state)) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		sleep_ns(5 * NSEC_PER_MSEC);
	}
	sleep_ns(milliseconds * NSEC_PER_MSEC);
	return 0;
}

/* A client has packets in the device, staged, and waiting: those are what is taken back. */
static int preempt_client(const struct state *state)
{
	__u64 fence;
	int ret = hang_for(0);

	if (ret)
		return ret;
	do
		ret = gpu_submit(state->render, RUST_GPU_NODE_CONTROL, RUST_GPU_SUBMIT_MAX_COUNT,
				 RUST_GPU_SUBMIT_NONBLOCK, &fence);
	while (ret > 0);
	if (ret != -EAGAIN)
		return ret;
	return wait_until(state, is_preempting, rand() % 1000);
}

/* The device needs a reset, which takes its time. */
static int begin_reset(unsigned int milliseconds)
{
	int ret = device_ask(host, "slow-reset %u", RESET_MS);

	if (!ret)
		ret = device_ask(host, "needs-reset");
	sleep_ns(milliseconds * NSEC_PER_MSEC);
	return ret;
}

/* Waits for a line of the log. Returns 0 or -errno. */
static int wait_for_line(int log, const char *text)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	char line[1024];

	while (now_ns() < end) {
		while (next_record(log, line, sizeof(line))) {
			if (strstr(line, text))
				return 0;
		}
		sleep_ns(5 * NSEC_PER_MSEC);
	}
	return -ETIMEDOUT;
}

/* The device stands still at its first command after the reset: it is waited for. */
static int await_device(void)
{
	const int log = log_open();
	int ret = tdr_set("delay_ms", DELAY_MS);

	if (!ret)
		ret = device_ask(host, "stall any");
	if (!ret)
		ret = show_image();
	if (!ret)
		ret = wait_for_line(log, "waiting for it");
	close(log);
	sleep_ns(rand() % 1000 * NSEC_PER_MSEC);
	return ret;
}

/* Brings the device into a state. Returns 0 or -errno. */
static int enter(struct state *state, enum grid_state wanted)
{
	const __s64 resets = device_state(host, "resets");
	int ret = 0;

	switch (wanted) {
	case LOOK:
		return hang_for(500 + rand() % 600);
	case DOORBELL:
		ret = hang_for(0);
		return ret ? ret : wait_until(state, is_kicked, rand() % 400);
	case PREEMPTING:
		return preempt_client(state);
	case COLLECTING:
		/* It is found within that time, and what is known of it is written down first. */
		return begin_reset(rand() % 40);
	case RESETTING:
		return begin_reset(100 + rand() % 500);
	case RESTORING:
		ret = device_ask(host, "slow any %u", RESTORE_MS);
		if (!ret)
			ret = device_ask(host, "needs-reset");
		if (!ret && wait_for_reset(resets) < 0)
			ret = -ETIMEDOUT;
		sleep_ns(rand() % 1000 * NSEC_PER_MSEC);
		return ret;
	case WAITING:
		return await_device();
	case BROKEN:
		ret = tdr_level(TDR_BREAK);
		if (!ret)
			ret = device_ask(host, "needs-reset");
		return ret ? ret : wait_until_broken(state->render);
	default:
		return begin_probe(state);
	}
}

/* Shows the panic screen, if that is written to. */
static const char *panic_file(const struct state *state)
{
	return path("/sys/kernel/debug/dri/%s/drm_panic_plane_0",
		    state->gpu.card + strlen("/dev/dri/card"));
}

/* Ends something. Returns 0 or -errno. */
static int go(struct state *state, enum way way, enum grid_state now)
{
	int ret;

	switch (way) {
	case UNBIND:
		ret = gpu_unbind(&state->gpu);
		/* The other process may be late. */
		return now == PROBING && ret == -ENODEV ? 0 : ret;
	case REMOVE:
		return write_file(path("/sys/bus/pci/devices/%s/remove", state->gpu.pci), "1");
	case SLEEP:
		return let_sleep();
	case KILL:
		kill(child, SIGKILL);
		return waitpid(child, NULL, 0) == child ? 0 : -ECHILD;
	case UNLOAD:
		return driver_unload() ? -EBUSY : 0;
	default:
		/* There is no such file before the device is probed. */
		write_file(panic_file(state), "1");
		return 0;
	}
}

/* How long that may take. */
static __s64 limit(enum way way, enum grid_state now)
{
	__s64 ns = now == PROBING ? PROBE_NS : END_NS;

	if (way == SLEEP)
		ns += SLEEP_NS;
	if (now == COLLECTING || now == RESETTING)
		ns += RESET_MS * NSEC_PER_MSEC;
	return ns * (kernel_is_slow() ? SLOWER : 1);
}

/* Makes the device work again, and draws. Returns 0 or -errno. */
static int come_back(struct state *state, enum way way)
{
	struct gpu found;
	int ret = device_resume(host);

	if (!ret)
		ret = set_defaults();
	/* All parameters are new. */
	if (way == UNLOAD)
		ret = driver_load() ? -ENODEV : 0;
	if (ret)
		return ret;
	if (child > 0 && way != KILL) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	child = 0;
	end_client(state);
	if (way == REMOVE)
		ret = write_file("/sys/bus/pci/rescan", "1");
	/* A device that broke is revived, and one that is not bound is bound. */
	if (gpu_find(&found))
		ret = gpu_unbind(&state->gpu);
	if (!ret)
		ret = gpu_bind(&state->gpu);
	if (ret)
		return ret;
	if (start(state))
		return -ENODEV;
	ret = tdr_set("limit_count", 0);
	return ret ? ret : show_all();
}

static void check_cell(struct __test_metadata *_metadata, struct state *state, enum way way,
		       enum grid_state now)
{
	const int log = log_open();
	__s64 begin, took;

	TH_LOG("%s, %s", way_names[way], state_names[now]);
	child = 0;
	if (now != PROBING && way != UNLOAD) {
		child = fork();
		if (!child)
			flip_for_ever();
		ASSERT_LT(0, child);
	}
	ASSERT_EQ(0, enter(state, now));
	/* Somebody who uses the device would be in the way. */
	if (way == UNLOAD && now != PROBING)
		end_client(state);
	begin = now_ns();
	EXPECT_EQ(0, go(state, way, now));
	took = now_ns() - begin;
	TH_LOG("%s, %s: %lld ms", way_names[way], state_names[now], took / NSEC_PER_MSEC);
	EXPECT_LE(took, limit(way, now));
	ASSERT_EQ(0, come_back(state, way));
	EXPECT_EQ(0, gpu_works(state->render));
	EXPECT_EQ(0, count_splats(log));
	close(log);
}

static void prepare(struct __test_metadata *_metadata)
{
	host = dup(scene.screen);
	ASSERT_LE(0, host);
	ASSERT_EQ(0, set_defaults());
	ASSERT_EQ(0, tdr_set("limit_count", 0));
	set_seed(_metadata);
}

static void check_cells(struct __test_metadata *_metadata, struct state *state, enum way way)
{
	enum grid_state now;

	if (way == SLEEP && !can_sleep())
		SKIP(return, NO_SLEEP);
	prepare(_metadata);
	for (now = 0; now < STATES; now++)
		check_cell(_metadata, state, way, now);
}

TEST_F_TIMEOUT(recover, and_unbind, 600)
{
	check_cells(_metadata, &self->state, UNBIND);
}

TEST_F_TIMEOUT(recover, and_remove, 600)
{
	check_cells(_metadata, &self->state, REMOVE);
}

TEST_F_TIMEOUT(recover, and_sleep, 600)
{
	check_cells(_metadata, &self->state, SLEEP);
}

TEST_F_TIMEOUT(recover, and_kill, 600)
{
	check_cells(_metadata, &self->state, KILL);
}

TEST_F_TIMEOUT(recover, and_unload, 600)
{
	check_cells(_metadata, &self->state, UNLOAD);
}

TEST_F_TIMEOUT(recover, and_panic, 600)
{
	if (access(panic_file(&self->state), W_OK))
		SKIP(return, "no CONFIG_DRM_PANIC_DEBUG");
	check_cells(_metadata, &self->state, PANIC);
}

TEST_F_TIMEOUT(recover, at_random, 3600)
{
	unsigned int i;

	prepare(_metadata);
	for (i = 0; i < RANDOM_CELLS; i++)
		check_cell(_metadata, &self->state, rand() % WAYS, rand() % STATES);
}

/* The system ends, in one state. The host sees how. */
TEST_F_TIMEOUT(recover, reboot, 120)
{
	const char *wanted = getenv("RUST_GPU_STATE");
	enum grid_state now = 0;

	if (!wanted)
		SKIP(return, "RUST_GPU_STATE is not set");
	while (now < STATES && strcmp(state_names[now], wanted))
		now++;
	ASSERT_LT(now, STATES);
	prepare(_metadata);
	ASSERT_EQ(0, enter(&self->state, now));
	write_file("/dev/kmsg", "the guest ends");
	reboot(RB_AUTOBOOT);
	/* It does not return. */
	ASSERT_TRUE(false);
}

TEST_HARNESS_MAIN
