// SPDX-License-Identifier: GPL-2.0
/*
 * What tells desktops that the host resizes and moves the screens: the properties
 * hotplug_mode_update, suggested X and suggested Y of the connectors.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_hotplug.h"
#include "display_kms.h"

#define HEADS		2
/* After so long without an event, no more are expected. */
#define QUIET_MS	1000

struct place {
	__u64 x, y;
};

/* Each test is a process of its own. */
static struct {
	struct display heads[HEADS];
	int screen;
	int uevents;
} scene;

static bool read_place(const struct display *display, struct place *place)
{
	return find_property(display->fd, display->connector, "suggested X", &place->x) &&
	       find_property(display->fd, display->connector, "suggested Y", &place->y);
}

/* Whether a property is there, for the kernel alone to change, from 0 to @max. */
static bool is_immutable(const struct display *display, const char *name, __u64 max)
{
	__u64 values[2] = { -1, -1 };
	struct drm_mode_get_property property = {
		.prop_id = find_property(display->fd, display->connector, name, NULL),
		.values_ptr = user_pointer(values),
		.count_values = ARRAY_SIZE(values),
	};

	return property.prop_id &&
	       !gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETPROPERTY, &property) &&
	       property.flags == (DRM_MODE_PROP_IMMUTABLE | DRM_MODE_PROP_RANGE) &&
	       property.count_values == 2 && values[0] == 0 && values[1] == max;
}

/* Whether both heads are where they should be. */
static bool are_at(const struct place *wanted)
{
	struct place is[HEADS];
	unsigned int i;

	for (i = 0; i < HEADS; i++) {
		if (!read_place(&scene.heads[i], &is[i]))
			return false;
	}
	if (!memcmp(is, wanted, sizeof(is)))
		return true;
	fprintf(stderr, "# at %lld,%lld and %lld,%lld\n", is[0].x, is[0].y, is[1].x, is[1].y);
	return false;
}

static void drain_uevents(void)
{
	while (!wait_hotplug(scene.uevents, scene.heads[0].card, QUIET_MS))
		;
}

/* Where they are side by side. */
static void side_by_side(struct place *places)
{
	places[0] = (struct place){};
	places[1] = (struct place){ .x = scene.heads[0].mode.hdisplay };
}

FIXTURE(places)
{
};

FIXTURE_SETUP(places)
{
	struct display *first = &scene.heads[0], *second = &scene.heads[1];
	const char *reason = display_screen_open(first, &scene.screen);

	REQUIRE(return, !reason, reason);
	scene.uevents = uevents_open();
	ASSERT_GE(scene.uevents, 0);
	second->fd = first->fd;
	reason = connect_second(scene.screen, second);
	REQUIRE(return, !reason, reason);
	ASSERT_EQ(0, first->head);
	ASSERT_EQ(1, second->head);
	drain_uevents();
}

FIXTURE_TEARDOWN(places)
{
	close(scene.uevents);
	close(scene.screen);
	close(scene.heads[0].fd);
}

TEST_F_TIMEOUT(places, properties, 60)
{
	unsigned int i;
	__u64 value;

	for (i = 0; i < HEADS; i++) {
		const struct display *display = &scene.heads[i];

		EXPECT_TRUE(is_immutable(display, "hotplug_mode_update", 1));
		ASSERT_TRUE(find_property(display->fd, display->connector, "hotplug_mode_update",
					  &value));
		EXPECT_EQ(1, value);
		EXPECT_TRUE(is_immutable(display, "suggested X", 0xffffffff));
		EXPECT_TRUE(is_immutable(display, "suggested Y", 0xffffffff));
	}
}

/* The host has both at 0,0: nobody wants the same picture twice. */
TEST_F_TIMEOUT(places, side_by_side, 120)
{
	struct place wanted[HEADS];
	char answer[64];

	side_by_side(wanted);
	EXPECT_TRUE(are_at(wanted));
	/* The second one makes room. */
	ASSERT_EQ(0, screen_ask(scene.screen, answer, sizeof(answer), "resize 640 480 0"));
	ASSERT_EQ(0, wait_hotplug(scene.uevents, scene.heads[0].card, HOTPLUG_MS));
	wanted[1].x = 640;
	EXPECT_TRUE(are_at(wanted));
	ASSERT_EQ(0, screen_ask(scene.screen, answer, sizeof(answer), "resize %u %u 0",
				scene.heads[0].mode.hdisplay, scene.heads[0].mode.vdisplay));
	ASSERT_EQ(0, wait_hotplug(scene.uevents, scene.heads[0].card, HOTPLUG_MS));
	side_by_side(wanted);
	EXPECT_TRUE(are_at(wanted));
}

/* Of the first head, of 1280x800 pixels, and of the second one, of 800x600. */
static const struct {
	const char *name;
	struct place asked[HEADS];
	bool overlap;
} moves[] = {
	{ "right of", { { 0, 0 }, { 1280, 0 } }, false },
	{ "left of", { { 800, 0 }, { 0, 0 } }, false },
	{ "below", { { 0, 0 }, { 100, 800 } }, false },
	{ "moved", { { 10, 20 }, { 1290, 30 } }, false },
	{ "on top of each other", { { 0, 0 }, { 1279, 0 } }, true },
	{ "right of again", { { 0, 0 }, { 1281, 0 } }, false },
	{ "out of reach", { { 0, 0 }, { 0xffffffff, 0xffffffff } }, true },
};

/* Both places are there when the one event comes. */
TEST_F_TIMEOUT(places, follow_the_host, 120)
{
	struct place beside[HEADS];
	char answer[64];
	unsigned int i;

	if (device_state(scene.screen, "commands") < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(1280, scene.heads[0].mode.hdisplay);
	ASSERT_EQ(800, scene.heads[1].mode.hdisplay);
	side_by_side(beside);
	for (i = 0; i < ARRAY_SIZE(moves); i++) {
		const struct place *asked = moves[i].asked;

		ASSERT_EQ(0, screen_ask(scene.screen, answer, sizeof(answer),
					"place %llu %llu %llu %llu", asked[0].x, asked[0].y,
					asked[1].x, asked[1].y));
		EXPECT_EQ(0, wait_hotplug(scene.uevents, scene.heads[0].card, HOTPLUG_MS));
		EXPECT_TRUE(are_at(moves[i].overlap ? beside : asked)) TH_LOG("%s", moves[i].name);
		EXPECT_EQ(-ETIMEDOUT, wait_hotplug(scene.uevents, scene.heads[0].card, QUIET_MS))
			TH_LOG("%s", moves[i].name);
	}
	ASSERT_EQ(0, screen_ask(scene.screen, answer, sizeof(answer), "place 0 0 0 0"));
	ASSERT_EQ(0, wait_hotplug(scene.uevents, scene.heads[0].card, HOTPLUG_MS));
	EXPECT_TRUE(are_at(beside));
}

TEST_HARNESS_MAIN
