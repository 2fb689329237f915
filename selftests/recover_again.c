// SPDX-License-Identifier: GPL-2.0
/*
 * A device hangs again and again, at random commands and also in the middle of what restores
 * it. Each time the screen, the cursor and the console are what they should be, whoever drew
 * last, and nothing is left behind.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 *   RUST_GPU_SEED=NUMBER	of the random numbers
 */
#include "recover.h"
#include "kernel_memory.h"

#define ROUNDS		gpu_rounds(60, 1000)
#define CONSOLE_ROUNDS	gpu_rounds(6, 60)
/*
 * From the driver's reset to the picture, by the device's clock: half of the times, 99 of 100,
 * and the longest.
 */
#define MEDIAN_NS	(300 * NSEC_PER_MSEC)
#define MOST_NS		NSEC_PER_SEC
#define LONGEST_NS	(5 * NSEC_PER_SEC)
/* It hangs at one of so many commands, and perhaps again at one of so many after that. */
#define COMMANDS	10
#define COMMANDS_AGAIN	8
/* How much more memory the kernel may have in use after all that, in kB. */
#define LEAK_KB		2048
/* By how many vblanks a count may be ahead, on a busy host as well. */
#define VBLANKS		3
/* The device hangs at a command, counted from now. */
#define REQUEST		"hang any %u"
#define CLEAR		"\033[2J\033[H\033[?25l"

/* What keeps the device busy until it hangs. */
enum drawing { STILL, FLIPPING, CURSOR, DRAWINGS };

static const char *const drawing_names[] = { "still", "flipping", "cursor" };

/* Vblanks of a CRTC, and when the last one was. */
struct vblanks {
	__u64 count;
	__s64 ns;
};

static struct vblanks read_vblanks(void)
{
	struct drm_crtc_get_sequence get = { .crtc_id = scene.display.crtc };

	if (gpu_ioctl(scene.display.fd, DRM_IOCTL_CRTC_GET_SEQUENCE, &get))
		return (struct vblanks){};
	return (struct vblanks){ get.sequence, get.sequence_ns };
}

/* Whether there were no more vblanks than there was time; fewer while nobody counts them. */
static bool vblanks_are_right(const struct vblanks *before)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;
	const double period = 1e6 * mode->htotal * mode->vtotal / mode->clock;
	const struct vblanks now = read_vblanks();
	const double wanted = (now.ns - before->ns) / period;
	const double found = (double)now.count - before->count;

	if (now.ns && found >= 0 && found < wanted + VBLANKS)
		return true;
	fprintf(stderr, "# %.1f vblanks in %.1f periods\n", found, wanted);
	return false;
}

/* What happens in one round. */
struct round {
	enum drawing drawing;
	unsigned int nth, again;
	__s64 resets;		/* before it */
	__u32 flips;		/* sequence of the last one */
	bool flip_pending;
	const char *render;
	__s64 fired;		/* before it was let go on */
	unsigned int waits;	/* how often that was, in all rounds */
};

/* Takes the event of the last flip, if it is there. Returns 0 or -errno. */
static int take_flip(struct round *round, int milliseconds)
{
	struct drm_event_vblank event;
	int ret;

	if (!round->flip_pending)
		return 0;
	ret = read_event(scene.display.fd, &event, milliseconds);
	if (ret == -ETIMEDOUT && !milliseconds)
		return 0;
	if (ret)
		return ret;
	round->flip_pending = false;
	if (round->flips && (__s32)(event.sequence - round->flips) <= 0)
		return -ERANGE;
	round->flips = event.sequence;
	return 0;
}

/* Changes a small part of the screen, and touches nothing else. Returns 0 or -errno. */
static int draw_part(void)
{
	const struct frame *frame = &frames[frame_shown];
	struct rect part = {
		.x1 = rand() % (scene.picture.width - SMALL),
		.y1 = rand() % (scene.picture.height - SMALL),
	};
	__s32 x, y;

	part.x2 = part.x1 + SMALL;
	part.y2 = part.y1 + SMALL;
	for (y = part.y1; y < part.y2; y++) {
		for (x = part.x1; x < part.x2; x++) {
			const __u32 colour = rand() & 0xffffff, pixel = colour | UNUSED_BYTE;

			scene.picture.pixels[(size_t)y * scene.picture.width + x] = colour;
			memcpy(frame->map + (size_t)y * frame->pitch + 4 * x, &pixel,
			       sizeof(pixel));
		}
	}
	return dirty_fb(scene.display.fd, frame->fb, &part, 1);
}

/* Draws something. Returns 0 or -errno. */
static int draw(struct round *round)
{
	__u64 fence;
	int fd, ret;

	switch (round->drawing) {
	case FLIPPING:
		ret = take_flip(round, 0);
		if (ret || round->flip_pending)
			return ret;
		ret = draw_new();
		if (!ret)
			ret = page_flip(&scene.display, frames[frame_shown].fb,
					DRM_MODE_PAGE_FLIP_EVENT, 0);
		round->flip_pending = !ret;
		return ret;
	case CURSOR:
		return show_image();
	default:
		/* Nothing on the screen changes before the last commit. */
		seed++;
		if (seed % 2)
			return cursor_set(&scene.display, DRM_MODE_CURSOR_MOVE, 0, seed % 600,
					  seed % 400);
		/* In a file of its own: it gets no more if the device hangs at its packet. */
		fd = open(round->render, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		ret = gpu_submit(fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence);
		close(fd);
		return ret < 0 ? ret : 0;
	}
}

/* Draws until the device hangs. Returns 0 or -errno. */
static int draw_until_it_hangs(struct round *round)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	int ret;

	do {
		ret = draw(round);
		if (ret)
			return ret;
		if (device_state(scene.screen, "fired") > 0)
			return 0;
	} while (now_ns() < end);
	return -ETIMEDOUT;
}

/* Draws for the last time, mostly while the device hangs. Returns 0 or -errno. */
static int draw_last(struct round *round, unsigned int *late)
{
	int ret;

	/* The device has shown it, or was reset. */
	if (round->drawing == FLIPPING)
		return take_flip(round, EVENT_PATIENCE_MS);
	/* This may take until the device is reset. */
	if (device_state(scene.screen, "resets") != round->resets)
		++*late;
	ret = draw_part();
	return ret ? ret : show_image();
}

/*
 * Whether the screen and the cursor are right soon. A device that hangs at its first command after
 * a reset is not reset again, but waited for: so it goes on.
 */
static bool comes_back(struct round *round)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	do {
		if (screen_shows_within(scene.screen, "recover", scene.display.head,
					&scene.picture, NSEC_PER_SEC / 2))
			return is_right();
		if (device_state(scene.screen, "commands-since-reset") <= 1 &&
		    (device_state(scene.screen, "held-control") ||
		     device_state(scene.screen, "held-cursor"))) {
			round->fired = device_state(scene.screen, "fired");
			round->waits++;
			device_resume(scene.screen);
		}
	} while (now_ns() < end);
	return false;
}

/* The device hangs, and comes back with all that it should show. Returns 0 or -errno. */
static int hang(struct round *round, unsigned int *late)
{
	int ret = device_resume(scene.screen);

	round->resets = device_state(scene.screen, "resets");
	round->fired = 0;
	if (!ret)
		ret = device_ask(scene.screen, REQUEST, round->nth);
	if (!ret && round->again)
		ret = device_ask(scene.screen, REQUEST, round->nth + round->again);
	if (!ret)
		ret = draw_until_it_hangs(round);
	if (!ret)
		ret = draw_last(round, late);
	if (!ret && wait_for_reset(round->resets) < 0)
		ret = -ETIMEDOUT;
	if (!ret && !comes_back(round))
		ret = -ENODATA;
	/* It may hang once more when all is shown. */
	if (!ret && !(device_wait(scene.screen, "held-control", 0) &&
		      device_wait(scene.screen, "held-cursor", 0)))
		ret = -ETIMEDOUT;
	return ret;
}

static void check_times(struct __test_metadata *_metadata, __s64 *times, unsigned int count)
{
	const int slower = kernel_is_slow() ? SLOWER : 1;

	qsort(times, count, sizeof(*times), compare_times);
	TH_LOG("from the reset to the picture: median %lld ms, 99 of 100 %lld ms, longest %lld ms",
	       times[count / 2] / NSEC_PER_MSEC, times[count * 99 / 100] / NSEC_PER_MSEC,
	       times[count - 1] / NSEC_PER_MSEC);
	EXPECT_LE(times[count / 2], MEDIAN_NS * slower);
	EXPECT_LE(times[count * 99 / 100], MOST_NS * slower);
	EXPECT_LE(times[count - 1], LONGEST_NS);
}

/*
 * A restore, when nothing else happens: a device without time is asked for its screens when it goes
 * on. Returns how many commands it took, or -errno.
 */
static __s64 count_restore(void)
{
	int ret = tdr_set("delay_ms", TDR_DELAY_MS);
	__s64 calm;

	if (!ret)
		ret = reset_once();
	calm = ret ? ret : calm_commands();
	if (calm >= 0)
		calm = device_state(scene.screen, "commands-since-reset");
	ret = set_quick();
	return ret ? ret : calm;
}

/* Hangs once more. Returns how often the device was reset, or -errno. */
static __s64 one_round(struct round *round, unsigned int number, unsigned int *late, __s64 *time)
{
	const struct vblanks before = read_vblanks();
	__s64 resets;
	int ret;

	round->drawing = rand() % DRAWINGS;
	/* The first command after a reset is one that shows nothing yet. */
	round->nth = 2 + rand() % (COMMANDS - 1);
	round->again = rand() % 4 ? 0 : 1 + rand() % COMMANDS_AGAIN;
	ret = hang(round, late);
	resets = device_state(scene.screen, "resets") - round->resets;
	*time = device_state(scene.screen, "reset-to-flush") * NSEC_PER_USEC;
	if (!ret && !vblanks_are_right(&before))
		ret = -ERANGE;
	/* Each reset has a command at which the device hung. */
	if (!ret && (resets < 1 || (resets > device_state(scene.screen, "fired") &&
				    resets > round->fired)))
		ret = -EPROTO;
	if (ret)
		fprintf(stderr, "# round %u: %s, hangs at command %u and %u later, %lld resets\n",
			number, drawing_names[round->drawing], round->nth, round->again, resets);
	return ret ? ret : resets;
}

TEST_F_TIMEOUT(recover, again_and_again, 7200)
{
	const __s64 begin = now_ns(), idle = device_state(scene.screen, "idle-resets");
	__s64 *times = calloc(ROUNDS, sizeof(*times));
	__s64 first, used_before, used, unused, kicks;
	unsigned int i, late = 0, resets = 0, count = 0;
	struct round round = { .render = self->state.gpu.render };

	ASSERT_NE(NULL, times);
	set_seed(_metadata);
	first = count_restore();
	ASSERT_LT(0, first);
	kernel_memory(&used_before, &unused);
	for (i = 0; i < ROUNDS; i++) {
		const unsigned int waits = round.waits;
		__s64 ret = one_round(&round, i, &late, &times[count]);

		ASSERT_LT(0, ret);
		ASSERT_LT(0, times[count]) TH_LOG("round %u: no picture", i);
		resets += ret;
		/* The driver waited for the device, and the device for this test. */
		count += waits == round.waits;
	}
	ASSERT_EQ(0, device_resume(scene.screen));
	kernel_memory(&used, &unused);
	TH_LOG("%u resets in %u rounds, %u ms each; %u times too late to draw; %lld kB more",
	       resets, ROUNDS, (unsigned int)((now_ns() - begin) / NSEC_PER_MSEC / ROUNDS), late,
	       used - used_before);
	EXPECT_GE(count, ROUNDS / 2);
	check_times(_metadata, times, count);
	/* A device that is let go on is taken for one that missed the last kick. */
	kicks = read_watchdog(&self->state.gpu).lost_kicks - self->state.before.lost_kicks;
	EXPECT_GE(round.waits + BUSY_KICKS, kicks);
	self->state.before.lost_kicks += kicks;
	EXPECT_LE(used - used_before, LEAK_KB);
	/* Most were drawn while the device hung. */
	EXPECT_LT(late, ROUNDS / 2);
	EXPECT_EQ(idle, device_state(scene.screen, "idle-resets"));
	EXPECT_EQ(first, count_restore());
	/* Also those two that were counted. */
	check_stock(_metadata, &self->state, resets + 2);
	free(times);
}

/* Writes to the console, and waits until the screen is the same for a while. */
static __u32 console_crc(int screen, const char *text)
{
	__u32 width, height, crc = 0, last = 1, before = 2;
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	write_file("/dev/tty1", text);
	while ((crc != last || last != before) && now_ns() < end) {
		before = last;
		last = crc;
		sleep_ns(100 * NSEC_PER_MSEC);
		if (screen_dump(screen, "recover-console", 0, &width, &height, &crc))
			return 0;
	}
	return crc;
}

/* Waits until the screen is as the console should be. */
static bool console_is(int screen, __u32 wanted)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__u32 width, height, crc;

	do {
		if (!screen_dump(screen, "recover-console", 0, &width, &height, &crc) &&
		    crc == wanted)
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

/* The device hangs while the console is drawn. Returns 0 or -errno. */
static int hang_console(int screen, const char *const texts[2], unsigned int number)
{
	const __s64 resets = device_state(screen, "resets"), end = now_ns() + GPU_PATIENCE_NS;
	unsigned int i = number;
	int ret = device_ask(screen, REQUEST, 1 + rand() % 6);

	while (!ret && device_state(screen, "fired") < 1) {
		ret = write_file("/dev/tty1", texts[++i % 2]);
		sleep_ns(50 * NSEC_PER_MSEC);
		if (now_ns() > end)
			return -ETIMEDOUT;
	}
	if (!ret)
		ret = write_file("/dev/tty1", texts[number % 2]);
	if (!ret && wait_for_reset(resets) < 0)
		ret = -ETIMEDOUT;
	return ret;
}

/* The same while nobody but the console draws. */
TEST_F_TIMEOUT(recover, with_the_console, 600)
{
	static const char *const texts[] = {
		CLEAR "one line of text\nand another\n",
		CLEAR "something else\n\n\nand more of it\n",
	};
	const int screen = dup(scene.screen);
	__u32 crcs[2];
	unsigned int i;

	set_seed(_metadata);
	end_client(&self->state);
	scene.screen = screen;
	for (i = 0; i < 2; i++)
		crcs[i] = console_crc(screen, texts[i]);
	ASSERT_NE(0, crcs[0]);
	ASSERT_NE(0, crcs[1]);
	ASSERT_NE(crcs[0], crcs[1]);
	for (i = 0; i < CONSOLE_ROUNDS; i++) {
		ASSERT_EQ(0, hang_console(screen, texts, i)) TH_LOG("round %u", i);
		ASSERT_TRUE(console_is(screen, crcs[i % 2])) TH_LOG("round %u", i);
		ASSERT_EQ(0, device_resume(screen));
	}
	close(screen);
	ASSERT_EQ(NULL, start(&self->state));
	EXPECT_EQ(0, show_all());
}

TEST_HARNESS_MAIN
