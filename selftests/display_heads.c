// SPDX-License-Identifier: GPL-2.0
/*
 * Two screens with a picture each: from one client, from two lessees, and from one
 * master after the other.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_kms.h"

#define HEADS	2

/* A screen, and the client that draws it. */
struct head {
	struct display display;
	struct frame frame;
	struct picture picture;
};

/* Each test is a process of its own. */
static struct {
	struct head heads[HEADS];
	int screen;
} scene;

/* Makes a frame of the head's size, with a picture that no other has. Returns 0 or -errno. */
static int head_draw(struct head *head, __u32 seed)
{
	return frame_of_screen(&head->display, &head->frame, &head->picture, seed);
}

static int head_show(const struct head *head)
{
	return set_crtc(&head->display, head->frame.fb, &head->display.mode, 0, 0);
}

static bool head_shows(const struct head *head, const char *name)
{
	return screen_shows(scene.screen, name, head->display.head, &head->picture);
}

FIXTURE(heads)
{
};

FIXTURE_SETUP(heads)
{
	struct display *first = &scene.heads[0].display, *second = &scene.heads[1].display;
	const char *reason = display_screen_open(first, &scene.screen);

	REQUIRE(return, !reason, reason);
	second->fd = first->fd;
	reason = connect_second(scene.screen, second);
	REQUIRE(return, !reason, reason);
	ASSERT_NE(first->crtc, second->crtc);
	ASSERT_NE(first->connector, second->connector);
	ASSERT_NE(first->primary, second->primary);
}

FIXTURE_TEARDOWN(heads)
{
	close(scene.heads[0].display.fd);
}

TEST_F_TIMEOUT(heads, own_pictures, 120)
{
	struct head *heads = scene.heads;
	struct rect all;
	__u32 width, height, crc;
	int i;

	for (i = 0; i < HEADS; i++) {
		ASSERT_EQ(0, head_draw(&heads[i], 1 + i));
		ASSERT_EQ(0, head_show(&heads[i]));
	}
	EXPECT_TRUE(head_shows(&heads[0], "heads-first"));
	EXPECT_TRUE(head_shows(&heads[1], "heads-second"));
	/* A change of one screen does not affect the other. */
	picture_fill(&heads[0].picture, 3);
	frame_draw(&heads[0].frame, &heads[0].picture);
	ASSERT_EQ(0, head_show(&heads[0]));
	ASSERT_EQ(0, crtc_off(&heads[1].display));
	EXPECT_TRUE(head_shows(&heads[0], "heads-alone"));
	all = picture_rect(&heads[1].picture);
	ASSERT_EQ(0, screen_dump(scene.screen, "heads-off", 1, &width, &height, &crc));
	EXPECT_NE(picture_crc(&heads[1].picture, &all), crc);
}

/* Leases a head, and gives its display to the lessee. Returns 0 or -errno. */
static int head_lease(struct head *head, __u32 *lessee)
{
	int fd = lease_create(&head->display, lessee);

	if (fd < 0)
		return fd;
	head->display.fd = fd;
	return 0;
}

TEST_F_TIMEOUT(heads, leases, 120)
{
	struct drm_mode_revoke_lease revoke = {};
	struct head *heads = scene.heads, wrong;
	int master = heads[0].display.fd, i;
	struct display seen;
	__u32 lessees[HEADS];

	for (i = 0; i < HEADS; i++) {
		ASSERT_EQ(0, head_lease(&heads[i], &lessees[i]));
		ASSERT_EQ(0, head_draw(&heads[i], 1 + i));
	}
	for (i = 0; i < HEADS; i++) {
		/* The lessee sees this head and no other. */
		seen = (struct display){ .fd = heads[i].display.fd };
		ASSERT_EQ(NULL, find_pipe(&seen, 0));
		EXPECT_EQ(heads[i].display.crtc, seen.crtc);
		EXPECT_EQ(heads[i].display.connector, seen.connector);
		seen = (struct display){ .fd = heads[i].display.fd };
		EXPECT_NE(NULL, find_pipe(&seen, 1));
		ASSERT_EQ(0, head_show(&heads[i]));
	}
	EXPECT_TRUE(head_shows(&heads[0], "heads-lease-first"));
	EXPECT_TRUE(head_shows(&heads[1], "heads-lease-second"));

	/* A lessee cannot use the other's head. */
	wrong = heads[0];
	wrong.display.crtc = heads[1].display.crtc;
	EXPECT_EQ(-ENOENT, head_show(&wrong));

	/* Nor its own after the lease was revoked. */
	revoke.lessee_id = lessees[0];
	ASSERT_EQ(0, gpu_ioctl(master, DRM_IOCTL_MODE_REVOKE_LEASE, &revoke));
	EXPECT_EQ(-ENOENT, head_show(&heads[0]));
	picture_fill(&heads[1].picture, 3);
	frame_draw(&heads[1].frame, &heads[1].picture);
	EXPECT_EQ(0, head_show(&heads[1]));
	EXPECT_TRUE(head_shows(&heads[1], "heads-lease-left"));
	close(heads[0].display.fd);
	close(heads[1].display.fd);
	heads[0].display.fd = master;
}

TEST_F_TIMEOUT(heads, masters, 120)
{
	struct head *first = &scene.heads[0], next = *first;

	ASSERT_EQ(0, head_draw(first, 1));
	ASSERT_EQ(0, head_show(first));
	next.display.fd = open(first->display.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(next.display.fd, 0);
	ASSERT_EQ(0, head_draw(&next, 2));
	EXPECT_EQ(-EACCES, head_show(&next));
	EXPECT_EQ(-EBUSY, gpu_ioctl(next.display.fd, DRM_IOCTL_SET_MASTER, NULL));

	ASSERT_EQ(0, gpu_ioctl(first->display.fd, DRM_IOCTL_DROP_MASTER, NULL));
	/* The picture stays until the next master shows another one. */
	EXPECT_TRUE(head_shows(first, "heads-master-none"));
	ASSERT_EQ(0, gpu_ioctl(next.display.fd, DRM_IOCTL_SET_MASTER, NULL));
	ASSERT_EQ(0, head_show(&next));
	EXPECT_TRUE(head_shows(&next, "heads-master-next"));
	EXPECT_EQ(-EACCES, head_show(first));

	ASSERT_EQ(0, gpu_ioctl(next.display.fd, DRM_IOCTL_DROP_MASTER, NULL));
	ASSERT_EQ(0, gpu_ioctl(first->display.fd, DRM_IOCTL_SET_MASTER, NULL));
	ASSERT_EQ(0, head_show(first));
	close(next.display.fd);
	EXPECT_TRUE(head_shows(first, "heads-master-back"));
}

TEST_HARNESS_MAIN
