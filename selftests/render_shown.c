// SPDX-License-Identifier: GPL-2.0
/*
 * A compositor shows a buffer of a client whose work does not end: the flip waits for it, the
 * device can be taken away meanwhile, and the death of the client ends the wait.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <sys/syscall.h>

#include "display_kms.h"
#include "render.h"

#define CLIENT		"render-hangs"
#define FORMAT_BGRX	2
#define WAITS_MS	500
#define DEATH_MS	1000
#define UNBIND_NS	(1200 * NSEC_PER_MSEC)

/* What a client tells the compositor. */
struct offer {
	int dma_buf;	/* a descriptor of the client */
	bool ready;
};

FIXTURE(compositor)
{
	struct render render;
	struct gpu gpu;
	struct display display;
	struct frame frame, first;
	struct offer *offer;
	pid_t client;
};

/* Makes a buffer of the screen's size, works on it, and waits for that. */
static void hang(const struct display *display, struct offer *offer)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int fd = named_client(CLIENT, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The compositor's files live on in it alone. */
	close(display->fd);
	create.format = FORMAT_BGRX;
	create.width = display->mode.hdisplay;
	create.height = display->mode.vdisplay;
	create.size = 4 * create.width * create.height;
	if (fd < 0 || resource_create(fd, &create) || submit_bo(fd, create.bo_handle, NULL, 0))
		_exit(1);
	offer->dma_buf = prime_export(fd, create.bo_handle);
	__atomic_store_n(&offer->ready, true, __ATOMIC_RELEASE);
	for (;;)
		bo_wait(fd, create.bo_handle, 0);
}

/* Takes the buffer that the client offers. Returns a descriptor, or -errno. */
static int accept_offer(const struct offer *offer, pid_t client)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	int pidfd, fd;

	while (!__atomic_load_n(&offer->ready, __ATOMIC_ACQUIRE)) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		sleep_ns(NSEC_PER_MSEC);
	}
	pidfd = syscall(SYS_pidfd_open, client, 0);
	if (pidfd < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, pidfd, offer->dma_buf, 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);
	return fd;
}

FIXTURE_SETUP(compositor)
{
	const char *reason = render_begin(&self->render, true);
	const struct drm_mode_modeinfo *mode = &self->display.mode;
	struct drm_event_vblank event;
	int dma_buf;

	self->display.fd = -1;
	self->client = 0;
	REQUIRE(return, !reason, reason);
	if (!self->render.rust)
		SKIP(return, "the C driver waits for ever");
	ASSERT_TRUE(gpu_find(&self->gpu));
	reason = display_open(&self->display);
	REQUIRE(return, !reason, reason);
	self->offer = mmap(NULL, sizeof(*self->offer), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->offer);
	ASSERT_EQ(0, frame_create(self->display.fd, &self->first, mode->hdisplay, mode->vdisplay));
	ASSERT_EQ(0, set_crtc(&self->display, self->first.fb, mode, 0, 0));
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	self->client = fork();
	if (!self->client)
		hang(&self->display, self->offer);
	dma_buf = accept_offer(self->offer, self->client);
	ASSERT_LE(0, dma_buf);
	ASSERT_EQ(0, prime_import(self->display.fd, dma_buf, &self->frame.handle));
	close(dma_buf);
	ASSERT_EQ(0, frame_add(self->display.fd, &self->frame, mode->hdisplay, mode->vdisplay,
			       4 * mode->hdisplay, 0));
	ASSERT_EQ(0, page_flip(&self->display, self->frame.fb, DRM_MODE_PAGE_FLIP_EVENT, 0));
	EXPECT_NE(0, read_event(self->display.fd, &event, WAITS_MS));
}

FIXTURE_TEARDOWN(compositor)
{
	if (self->client > 0)
		EXPECT_LE(0, time_to_die(self->client));
	EXPECT_EQ(0, device_resume(self->render.screen));
	if (self->display.fd >= 0)
		close(self->display.fd);
	EXPECT_TRUE(device_is_sound(self->render.screen));
	render_end(&self->render);
}

TEST_F_TIMEOUT(compositor, client_dies, 60)
{
	struct drm_event_vblank event;
	__s64 start = now_ns();

	EXPECT_LE(0, time_to_die(self->client));
	self->client = 0;
	EXPECT_EQ(0, read_event(self->display.fd, &event, DEATH_MS));
	TH_LOG("the flip is done after %lld ms", (now_ns() - start) / NSEC_PER_MSEC);
	/* The compositor goes on. */
	EXPECT_EQ(0, flip_and_wait(&self->display, self->first.fb, 0, &event));
	EXPECT_EQ(0, flip_and_wait(&self->display, self->frame.fb, 0, &event));
}

TEST_F_TIMEOUT(compositor, device_is_taken_away, 60)
{
	__s64 start = now_ns(), took;

	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	took = now_ns() - start;
	TH_LOG("unbound after %lld ms", took / NSEC_PER_MSEC);
	EXPECT_GE(kernel_is_slow() ? 2 * UNBIND_NS : UNBIND_NS, took);
	ASSERT_EQ(0, device_resume(self->render.screen));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
}

TEST_HARNESS_MAIN
