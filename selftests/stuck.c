// SPDX-License-Identifier: GPL-2.0
/*
 * A file fills the ring with open packets that do not end. Other files, the screen and the
 * cursor do not notice, and who has that file can be killed.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "scheduler.h"
#include "display_kms.h"

#define FRAMES		2
#define TURNS		2
/* At 60 Hz: ten seconds of all turns, or 60. */
#define FLIPS		gpu_rounds(300, 1800)
/*
 * So many vblanks may be missed more than without such packets, of 600: the
 * quick runs have other guests beside them.
 */
#define MISSED		gpu_rounds(20, 2)
/* A busy host misses some in any case: then as many more say nothing. */
#define ALLOWED(missed)	(2 * (missed) + MISSED * TURNS * FLIPS / 600)
#define SAMPLES		20000
#define PAUSE_NS	NSEC_PER_MSEC
#define DEATH_NS	NSEC_PER_SEC
#define FILES		8
#define PACKETS		20
#define SHORT_NS	(500 * NSEC_PER_MSEC)

FIXTURE(stuck)
{
	struct setting setting;
	struct watchdog before;
	struct display display;
	struct frame frames[FRAMES], cursor;
};

FIXTURE_SETUP(stuck)
{
	const char *reason = setting_open(&self->setting, true);
	int i;

	self->display.fd = -1;
	REQUIRE(return, !reason, reason);
	reason = display_open(&self->display);
	REQUIRE(return, !reason, reason);
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, frame_create(self->display.fd, &self->frames[i],
					  self->display.mode.hdisplay,
					  self->display.mode.vdisplay));
	ASSERT_EQ(0, buffer_create(self->display.fd, &self->cursor, CURSOR_SIDE, CURSOR_SIDE));
	ASSERT_EQ(0, set_crtc(&self->display, self->frames[0].fb, &self->display.mode, 0, 0));
	ASSERT_EQ(0, cursor_set(&self->display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
				self->cursor.handle, 0, 0));
	ASSERT_EQ(0, screen_watch(self->setting.screen));
	ASSERT_EQ(0, gpu_quiesce(self->setting.fd));
	self->before = read_watchdog(&self->setting.gpu);
}

FIXTURE_TEARDOWN(stuck)
{
	struct watchdog after;
	int i;

	EXPECT_EQ(0, device_resume(self->setting.screen));
	EXPECT_EQ(0, gpu_quiesce(self->setting.fd));
	EXPECT_EQ(0, gpu_works(self->setting.fd));
	EXPECT_TRUE(device_is_sound(self->setting.screen));
	after = read_watchdog(&self->setting.gpu);
	EXPECT_EQ(self->before.stalls, after.stalls);
	EXPECT_EQ(self->before.recoveries, after.recoveries);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(self->display.fd, &self->frames[i]);
	frame_destroy(self->display.fd, &self->cursor);
	close(self->display.fd);
	setting_close(&self->setting);
}

/* Submits @count open packets, all that the file may. Returns the last ticket or -errno. */
static __s64 submit_open(const struct setting *setting, int fd, unsigned int count)
{
	char request[32];
	int ret;

	snprintf(request, sizeof(request), "%u %u", NODE, count);
	ret = write_file(debug_file(setting, "open"), request);
	return ret ? ret : submit(fd, count, 0);
}

/*
 * Waits until the device has all packets that the ring has, and does not answer them; it
 * answers those that come now. Returns how many it has, or -1.
 */
static __s64 settle(const struct setting *setting)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__s64 late, has;

	do {
		sleep_ns(50 * NSEC_PER_MSEC);
		late = device_state(setting->screen, "late");
		has = file_number(debug_file(setting, "ring_control"), "in flight: ");
	} while ((late != has || late <= 0) && now_ns() < end);
	return late == has && !device_ask(setting->screen, "behave") ? has : -1;
}

/* What another file does meanwhile: submits a packet, waits for it, again and again. */
struct tenant {
	pthread_t thread;
	int fd, ret;
	bool stop;
	unsigned int count;
	__s64 times[SAMPLES];
};

static void *work(void *arg)
{
	struct tenant *tenant = arg;

	while (!tenant->ret && !__atomic_load_n(&tenant->stop, __ATOMIC_RELAXED)) {
		const __s64 start = now_ns();
		const __s64 ticket = submit(tenant->fd, 1, 0);

		tenant->ret = ticket < 0 ? ticket : wait_for(tenant->fd, ticket);
		if (!tenant->ret && tenant->count < SAMPLES)
			tenant->times[tenant->count++] = now_ns() - start;
		sleep_ns(PAUSE_NS);
	}
	return NULL;
}

static __s64 median(struct tenant *tenant)
{
	qsort(tenant->times, tenant->count, sizeof(*tenant->times), compare_times);
	return tenant->count ? tenant->times[tenant->count / 2] : 0;
}

/* Flips and moves the cursor. Adds the vblanks that were missed. Returns 0 or -errno. */
static int show(const struct display *display, const struct frame *frames, int screen,
		unsigned int *missed)
{
	struct drm_event_vblank event;
	__u32 last = 0;
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i <= FLIPS; i++) {
		ret = flip_and_wait(display, frames[i % FRAMES].fb, 0, &event);
		if (!ret)
			ret = cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, 1 + i % 100, i % 50);
		if (i)
			*missed += event.sequence - last - 1;
		last = event.sequence;
	}
	i--;
	if (!ret && !screen_cursor(screen, "move", 1 + i % 100, i % 50))
		ret = -EPROTO;
	return ret;
}

/* Uses the device in both ways at once. */
static void use(struct __test_metadata *_metadata, const struct setting *setting,
		const struct display *display, struct frame *frames, struct tenant *tenant,
		unsigned int *missed)
{
	tenant->fd = new_file(setting);
	tenant->stop = false;
	ASSERT_LE(0, tenant->fd);
	ASSERT_EQ(0, pthread_create(&tenant->thread, NULL, work, tenant));
	EXPECT_EQ(0, show(display, frames, setting->screen, missed));
	__atomic_store_n(&tenant->stop, true, __ATOMIC_RELAXED);
	pthread_join(tenant->thread, NULL);
	EXPECT_EQ(0, tenant->ret);
	close(tenant->fd);
}

/* A process fills the ring, and waits for its packets. */
static pid_t fill(const struct setting *setting, __s64 *has)
{
	__s64 *ticket = mmap(NULL, sizeof(*ticket), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	pid_t child;

	*has = -1;
	if (ticket == MAP_FAILED || device_ask(setting->screen, "never display-info"))
		return -1;
	child = fork();
	if (!child) {
		int fd = new_file(setting);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*ticket = submit_open(setting, fd, FILE_PACKETS);
		gpu_wait_fence(fd, NODE, *ticket, INT64_MAX);
		_exit(1);
	}
	while (!__atomic_load_n(ticket, __ATOMIC_RELAXED) && now_ns() < end)
		sleep_ns(NSEC_PER_MSEC);
	if (*ticket == FILE_PACKETS)
		*has = settle(setting);
	munmap(ticket, sizeof(*ticket));
	return child;
}

/* With such packets and without, in turns: others have their packets, the screen its frames. */
TEST_F_TIMEOUT(stuck, nobody_else_notices, 900)
{
	static struct tenant without, with;
	__s64 part, best = INT64_MAX;
	unsigned int turn, missed_without = 0, missed_with = 0;
	__s64 has, time;

	for (turn = 0; turn < TURNS; turn++) {
		pid_t child;

		without.count = 0;
		with.count = 0;
		use(_metadata, &self->setting, &self->display, self->frames, &without,
		    &missed_without);
		child = fill(&self->setting, &has);
		ASSERT_LT(0, child);
		/* Alone, a file may have that many of them. */
		EXPECT_LE(self->setting.ring / 4, has);
		use(_metadata, &self->setting, &self->display, self->frames, &with, &missed_with);
		EXPECT_EQ(has, device_state(self->setting.screen, "late"));
		time = time_to_die(child);
		EXPECT_LE(0, time);
		EXPECT_GE(DEATH_NS, time);
		TH_LOG("%lld packets of a ring of %lld, dead after %lld us", has,
		       self->setting.ring, time / NSEC_PER_USEC);
		ASSERT_EQ(0, device_resume(self->setting.screen));
		ASSERT_EQ(0, gpu_quiesce(self->setting.fd));
		TH_LOG("submit and wait: median %lld us of %u without, %lld us of %u with",
		       median(&without) / NSEC_PER_USEC, without.count,
		       median(&with) / NSEC_PER_USEC, with.count);
		ASSERT_LT(0, median(&without));
		part = 100 * median(&with) / median(&without);
		best = part < best ? part : best;
	}
	TH_LOG("%u of %u vblanks missed without, %u with", missed_without, TURNS * FLIPS,
	       missed_with);
	/* In the other turn the host had something else to do. */
	EXPECT_GE(200, best);
	EXPECT_LE(missed_with, ALLOWED(missed_without));
}

/* Many files do that: what is not open goes on, and what is open later. */
TEST_F_TIMEOUT(stuck, many_files, 120)
{
	const struct setting *setting = &self->setting;
	int files[FILES], other, i;
	unsigned int missed = 0;
	__s64 has;

	ASSERT_EQ(0, device_ask(setting->screen, "never display-info"));
	for (i = 0; i < FILES; i++) {
		files[i] = new_file(setting);
		ASSERT_EQ(PACKETS, submit_open(setting, files[i], PACKETS));
	}
	has = settle(setting);
	TH_LOG("%lld packets of a ring of %lld", has, setting->ring);
	ASSERT_LT(0, has);
	other = new_file(setting);
	ASSERT_EQ(1, submit(other, 1, 0));
	EXPECT_EQ(0, wait_for(other, 1));
	EXPECT_EQ(0, show(&self->display, self->frames, setting->screen, &missed));
	ASSERT_EQ(2, submit_open(setting, other, 1));
	EXPECT_EQ(-ETIME, gpu_wait_fence(other, NODE, 2, now_ns() + SHORT_NS));
	/* What is closed gives its places to nobody before the device has answered. */
	close(files[0]);
	EXPECT_EQ(-ETIME, gpu_wait_fence(other, NODE, 2, now_ns() + SHORT_NS));
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(other, 2));
	for (i = 1; i < FILES; i++) {
		EXPECT_EQ(0, wait_for(files[i], PACKETS));
		close(files[i]);
	}
	close(other);
}

TEST_HARNESS_MAIN
