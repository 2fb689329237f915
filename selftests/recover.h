/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A screen with a cursor on a device that hangs and is reset, and what is counted then.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#ifndef _RECOVER_H
#define _RECOVER_H

#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"
#include "counters.h"
#include "kernel_log.h"
#include "tdr.h"
#include "uevents.h"

/* A device hangs after twice that, unless a test says otherwise. */
#ifndef DELAY_MS
#define DELAY_MS	200
#endif
#define SLOWER		4
/* A device that does not run for two ticks, on a busy host, looks as if it had missed a kick. */
#define BUSY_KICKS	3
#define SMALL		16
/* When nothing more is sent. */
#define CALM_NS		(500 * NSEC_PER_MSEC)

/* Each test is a process of its own. */
static struct scene scene;
static struct frame frames[2], images[2];
/* Which of them are on the screen. */
static unsigned int frame_shown, image_shown;
static struct picture fresh;
static __u32 seed;
/* What the device says of the image of the cursor. */
static char pointer[64];

/* What a test changes and counts. */
struct state {
	struct gpu gpu;
	struct watchdog before;
	__s64 resources, bytes, attached, resets;
	int log, events, render;
};

/* Counts the events about DRM, without those that tell whose packet the device hung at. */
static __maybe_unused unsigned int count_events(int fd)
{
	unsigned int count = 0;
	char message[4096];
	ssize_t len;

	while ((len = next_drm_uevent(fd, message, sizeof(message))) > 0) {
		if (has_line(message, len, "WEDGED=none"))
			continue;
		fprintf(stderr, "# %s\n", message);
		count++;
	}
	return count;
}

static __maybe_unused __s64 dma_bytes(const struct gpu *gpu)
{
	return file_number(path("/sys/kernel/debug/rust_gpu/%s/memory", gpu->pci), "dma bytes: ");
}

/* Waits until the device gets no more commands. Returns how many it got, or -errno. */
static __maybe_unused __s64 calm_commands(void)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__s64 last, now = device_state(scene.screen, "commands");

	do {
		last = now;
		sleep_ns(CALM_NS);
		now = device_state(scene.screen, "commands");
	} while (now != last && now_ns() < end);
	return now == last ? now : -ETIMEDOUT;
}

/* Waits until the device was reset once more. Returns after how long, or -errno. */
static __maybe_unused __s64 wait_for_reset(__s64 before)
{
	const __s64 start = now_ns();

	do {
		if (device_state(scene.screen, "resets") > before)
			return now_ns() - start;
		sleep_ns(5 * NSEC_PER_MSEC);
	} while (now_ns() - start < GPU_PATIENCE_NS);
	return -ETIMEDOUT;
}

/* Whether the screen and the cursor are right, now or soon. */
static __maybe_unused bool is_right(void)
{
	return screen_shows_within(scene.screen, "recover", scene.display.head, &scene.picture,
				   GPU_PATIENCE_NS) &&
	       screen_answers(scene.screen, "pointer", pointer);
}

/* Draws an image for a cursor. */
static __maybe_unused void draw_image(const struct frame *image)
{
	__u32 i, crc = ~0u;

	for (i = 0; i < image->size; i++)
		image->map[i] = i * 7 + seed;
	for (i = 0; i < 4 * CURSOR_SIDE * CURSOR_SIDE; i++)
		crc = crc_step(crc, image->map[i]);
	snprintf(pointer, sizeof(pointer), "pointer %d %d %d %d %08x", CURSOR_SIDE, CURSOR_SIDE,
		 CURSOR_HOT_X, CURSOR_HOT_Y, ~crc);
}

/* Shows a new image as the cursor. Returns 0 or -errno. */
static __maybe_unused int show_image(void)
{
	const struct display *display = &scene.display;
	struct frame *image = &images[image_shown ^= 1];
	int ret;

	frame_destroy(display->fd, image);
	ret = buffer_create(display->fd, image, CURSOR_SIDE, CURSOR_SIDE);
	if (ret)
		return ret;
	seed++;
	draw_image(image);
	return cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE, image->handle,
			  seed % 600, seed % 400);
}

/* Draws into a new frame. Returns 0 or -errno. */
static __maybe_unused int draw_new(void)
{
	struct frame *frame = &frames[frame_shown ^= 1];
	int ret;

	frame_destroy(scene.display.fd, frame);
	ret = frame_create(scene.display.fd, frame, scene.picture.width, scene.picture.height);
	if (ret)
		return ret;
	picture_fill(&scene.picture, ++seed % 255);
	frame_draw(frame, &scene.picture);
	return 0;
}

/* Changes a small part of the frame that is on the screen. Returns 0 or -errno. */
static __maybe_unused int draw_small(void)
{
	const struct frame *frame = &frames[frame_shown];
	struct rect part = {
		.x1 = rand() % (scene.picture.width - SMALL),
		.y1 = rand() % (scene.picture.height - SMALL),
	};

	part.x2 = part.x1 + SMALL;
	part.y2 = part.y1 + SMALL;
	picture_fill(&fresh, ++seed % 255);
	picture_copy(&scene.picture, &fresh, &part);
	frame_draw(frame, &scene.picture);
	return dirty_fb(scene.display.fd, frame->fb, &part, 1);
}

/* Shows new frames and images, so that the device knows all. Returns 0 or -errno. */
static __maybe_unused int show_all(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < 2; i++) {
		ret = draw_new();
		if (!ret)
			ret = set_crtc(&scene.display, frames[frame_shown].fb,
				       &scene.display.mode, 0, 0);
		if (!ret)
			ret = show_image();
		if (!ret && !is_right())
			ret = -ENODATA;
	}
	return ret;
}

/* Counts what the driver and the device have. Returns 0 or -errno. */
static __maybe_unused int take_stock(struct state *state)
{
	int ret = show_all();

	if (!ret && calm_commands() < 0)
		ret = -ETIMEDOUT;
	state->resources = count_resources(&state->gpu);
	state->bytes = dma_bytes(&state->gpu);
	state->attached = device_state(scene.screen, "attached");
	state->resets = device_state(scene.screen, "resets");
	state->before = read_watchdog(&state->gpu);
	return ret;
}

/* Opens all that a test needs. Returns why there is nothing to test, or NULL. */
static __maybe_unused const char *start(struct state *state)
{
	const char *reason = scene_open(&scene);

	state->log = -1;
	state->events = -1;
	state->render = -1;
	if (reason)
		return reason;
	if (!gpu_find(&state->gpu))
		return NO_GPU;
	srand(now_ns());
	if (picture_create(&fresh, scene.picture.width, scene.picture.height))
		return "no memory";
	state->render = open(state->gpu.render, O_RDWR | O_CLOEXEC);
	state->log = log_open();
	state->events = uevents_open();
	return NULL;
}

static __maybe_unused void end(const struct state *state)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		frame_destroy(scene.display.fd, &frames[i]);
		frame_destroy(scene.display.fd, &images[i]);
	}
	scene_close(&scene);
	close(state->log);
	close(state->events);
	close(state->render);
}

/* Closes all, as a client does that ends, unless it has. */
static __maybe_unused void end_client(const struct state *state)
{
	if (!scene.picture.pixels)
		return;
	end(state);
	free(fresh.pixels);
	scene.picture.pixels = NULL;
	memset(frames, 0, sizeof(frames));
	memset(images, 0, sizeof(images));
}

/* Whether a frame that is drawn now is soon on the screen. */
static __maybe_unused bool returns(struct state *state)
{
	device_resume(scene.screen);
	end_client(state);
	return gpu_wait(&state->gpu, GPU_PATIENCE_NS) && !start(state) && !show_all();
}

/* Waits until the device counts as broken. Returns 0 or -errno. */
static __maybe_unused int wait_until_broken(int render)
{
	const __s64 until = now_ns() + GPU_PATIENCE_NS;
	__u64 fence;
	int ret;

	do {
		ret = gpu_submit(render, RUST_GPU_NODE_CONTROL, 1, RUST_GPU_SUBMIT_NONBLOCK,
				 &fence);
		sleep_ns(10 * NSEC_PER_MSEC);
	} while ((ret >= 0 || ret == -EAGAIN) && now_ns() < until);
	return ret == -EIO ? 0 : ret < 0 ? ret : -ETIMEDOUT;
}

/* A device hangs soon, and is reset as often as it does. Returns 0 or -errno. */
static __maybe_unused int set_quick(void)
{
	int ret = tdr_set("delay_ms", DELAY_MS);

	return ret ? ret : tdr_set("limit_count", 0);
}

static __maybe_unused int set_defaults(void)
{
	int ret = tdr_level(TDR_RECOVER);

	if (!ret)
		ret = tdr_set("delay_ms", TDR_DELAY_MS);
	if (!ret)
		ret = tdr_set("limit_count", TDR_LIMIT_COUNT);
	return ret ? ret : tdr_set("limit_ms", TDR_LIMIT_MS);
}

/* The device asks for a reset. Returns 0 or -errno. */
static __maybe_unused int reset_once(void)
{
	const __s64 before = device_state(scene.screen, "resets");
	int ret = device_ask(scene.screen, "needs-reset");
	__s64 took = ret ? ret : wait_for_reset(before);

	return took < 0 ? took : is_right() ? 0 : -ENODATA;
}

/* Begins a series of random numbers, which RUST_GPU_SEED repeats. */
static __maybe_unused void set_seed(struct __test_metadata *_metadata)
{
	const char *given = getenv("RUST_GPU_SEED");
	const unsigned int number = given ? strtoul(given, NULL, 0) : now_ns() / NSEC_PER_MSEC;

	TH_LOG("seed %u", number);
	srand(number);
}

FIXTURE(recover)
{
	struct state state;
};

FIXTURE_SETUP(recover)
{
	const char *reason = start(&self->state);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	ASSERT_EQ(0, set_quick());
	/* After a reset the device knows only what is shown then, and no console. */
	ASSERT_EQ(0, show_all());
	ASSERT_EQ(0, reset_once());
	ASSERT_EQ(0, take_stock(&self->state));
	ASSERT_LT(0, self->state.resources);
	ASSERT_LT(0, self->state.attached);
	count_events(self->state.events);
}

FIXTURE_TEARDOWN(recover)
{
	EXPECT_EQ(0, set_defaults());
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	end_client(&self->state);
	/* Also after a test that failed: the next one needs a device that works. */
	if (!gpu_unbind(&self->state.gpu))
		EXPECT_EQ(0, gpu_bind(&self->state.gpu));
}

/* Checks that the device was reset so often, and that nothing is left of that. */
static __maybe_unused void check_stock(struct __test_metadata *_metadata,
				       const struct state *before, unsigned int resets)
{
	struct state after = *before;

	EXPECT_EQ(0, take_stock(&after));
	EXPECT_EQ(before->before.recoveries + resets, after.before.recoveries);
	EXPECT_EQ(before->resets + resets, after.resets);
	EXPECT_LE(before->before.lost_kicks, after.before.lost_kicks);
	EXPECT_GE(before->before.lost_kicks + BUSY_KICKS, after.before.lost_kicks);
	EXPECT_EQ(before->before.lost_interrupts, after.before.lost_interrupts);
	EXPECT_EQ(before->resources, after.resources);
	EXPECT_EQ(before->attached, after.attached);
	EXPECT_EQ(before->bytes, after.bytes);
	EXPECT_EQ(0, count_events(before->events));
}

#endif /* _RECOVER_H */
