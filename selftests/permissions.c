// SPDX-License-Identifier: GPL-2.0
/* Permissions on the card and the render node, with and without privileges and authentication. */
#include <grp.h>

#include "kselftest_harness.h"
#include "rust_gpu_test.h"

#define NOBODY	65534

FIXTURE(permissions)
{
	struct gpu gpu;
	mode_t card_mode;
	mode_t render_mode;
	int master;
};

FIXTURE_SETUP(permissions)
{
	struct stat st;

	self->master = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	/* The file modes of the nodes are up to the administrator. */
	ASSERT_EQ(0, stat(self->gpu.card, &st));
	self->card_mode = st.st_mode & 07777;
	ASSERT_EQ(0, stat(self->gpu.render, &st));
	self->render_mode = st.st_mode & 07777;
	ASSERT_EQ(0, chmod(self->gpu.card, 0666));
	ASSERT_EQ(0, chmod(self->gpu.render, 0666));
}

FIXTURE_TEARDOWN(permissions)
{
	if (self->card_mode)
		chmod(self->gpu.card, self->card_mode);
	if (self->render_mode)
		chmod(self->gpu.render, self->render_mode);
	if (self->master >= 0)
		close(self->master);
}

/* Runs @child as the user nobody. Returns what it returned. */
static int as_nobody(int (*child)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		    setresuid(NOBODY, NOBODY, NOBODY))
			_exit(100);
		_exit(child(arg));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 101;
	return WEXITSTATUS(status);
}

/* The harness does not see asserts of a child process. */
#define CHECK(condition) check(condition, #condition, __LINE__)

static void check(bool holds, const char *condition, int line)
{
	if (holds)
		return;
	fprintf(stderr, "# line %d: %s\n", line, condition);
	_exit(99);
}

static int do_all(const char *node)
{
	struct drm_rust_gpu_message_counters counters;
	struct drm_rust_gpu_device_info info;
	int fd = open(node, O_RDWR | O_CLOEXEC);
	__u64 completed, submitted;

	CHECK(fd >= 0);
	CHECK(gpu_info(fd, &info) == 0);
	CHECK(gpu_counters(fd, 0, &counters) == 0);
	CHECK(counters.status == RUST_GPU_STATUS_SUCCESS);
	CHECK(gpu_query(fd, 0, &completed, &submitted) == 0);
	CHECK(gpu_works(fd) == 0);
	return 0;
}

static int use_render(void *arg)
{
	struct gpu *gpu = arg;

	return do_all(gpu->render);
}

TEST_F_TIMEOUT(permissions, render_unprivileged, 60)
{
	EXPECT_EQ(0, as_nobody(use_render, &self->gpu));
	/* Also while there is a master. */
	self->master = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->master, 0);
	EXPECT_EQ(0, as_nobody(use_render, &self->gpu));
}

static int use_card(void *arg)
{
	struct gpu *gpu = arg;

	return do_all(gpu->card);
}

/* The first client is the master, and so it is authenticated. */
TEST_F_TIMEOUT(permissions, card_unprivileged_master, 60)
{
	EXPECT_EQ(0, as_nobody(use_card, &self->gpu));
}

TEST_F_TIMEOUT(permissions, card_root, 60)
{
	/* Root is authenticated although another client is the master. */
	self->master = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->master, 0);
	EXPECT_EQ(0, do_all(self->gpu.card));
}

static int use_card_unauthenticated(void *arg)
{
	struct gpu *gpu = arg;
	int fd = open(gpu->card, O_RDWR | O_CLOEXEC);
	struct drm_rust_gpu_device_info info;
	__u64 fence;
	__u32 node;

	CHECK(fd >= 0);
	CHECK(gpu_info(fd, &info) == 0);
	CHECK(info.handle != 0);
	for (node = 0; node < GPU_NULL_NODES; node++) {
		CHECK(gpu_submit(fd, node, 1, 0, &fence) == -EACCES);
		/* Permissions are checked before parameters. */
		CHECK(gpu_submit(fd, node, 0, ~0U, &fence) == -EACCES);
	}
	CHECK(gpu_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL) == -EACCES ||
	      gpu_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL) == -EBUSY);
	return 0;
}

TEST_F_TIMEOUT(permissions, card_unauthenticated, 60)
{
	__u64 completed, before[GPU_NULL_NODES], after;
	__u32 node;

	self->master = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->master, 0);
	ASSERT_EQ(0, gpu_calm(self->master));
	for (node = 0; node < GPU_NULL_NODES; node++)
		ASSERT_EQ(0, gpu_query_node(self->master, node, &completed, &before[node]));
	EXPECT_EQ(0, as_nobody(use_card_unauthenticated, &self->gpu));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, gpu_query_node(self->master, node, &completed, &after));
		EXPECT_EQ(before[node], after);
	}
}

struct magic {
	const char *card;
	int to_master;
	int from_master;
};

static int use_card_magic(void *arg)
{
	struct magic *magic = arg;
	int fd = open(magic->card, O_RDWR | O_CLOEXEC);
	struct drm_auth auth = {};
	__u64 fence;
	char byte;

	CHECK(fd >= 0);
	CHECK(gpu_submit(fd, 0, 1, 0, &fence) == -EACCES);
	CHECK(gpu_ioctl(fd, DRM_IOCTL_GET_MAGIC, &auth) == 0);
	CHECK(write(magic->to_master, &auth.magic, sizeof(auth.magic)) == sizeof(auth.magic));
	CHECK(read(magic->from_master, &byte, 1) == 1);
	CHECK(gpu_works(fd) == 0);
	return 0;
}

/* The master can authenticate a client. */
TEST_F_TIMEOUT(permissions, card_authenticated, 60)
{
	struct drm_auth auth = {};
	struct magic magic;
	int to[2], from[2];
	pid_t pid;
	int status;

	self->master = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->master, 0);
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	magic.card = self->gpu.card;
	magic.to_master = to[1];
	magic.from_master = from[0];

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(as_nobody(use_card_magic, &magic));
	close(to[1]);
	EXPECT_EQ(sizeof(auth.magic), read(to[0], &auth.magic, sizeof(auth.magic)));
	EXPECT_EQ(0, gpu_ioctl(self->master, DRM_IOCTL_AUTH_MAGIC, &auth));
	EXPECT_EQ(1, write(from[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* A render node has no ioctls for authentication or mastership. */
TEST_F_TIMEOUT(permissions, render_is_no_card, 60)
{
	int fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	struct drm_auth auth = {};

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EACCES, gpu_ioctl(fd, DRM_IOCTL_GET_MAGIC, &auth));
	EXPECT_EQ(-EACCES, gpu_ioctl(fd, DRM_IOCTL_AUTH_MAGIC, &auth));
	EXPECT_EQ(-EACCES, gpu_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL));
	close(fd);
}

static int use_root_files(void *arg)
{
	struct gpu *gpu = arg;

	CHECK(open(path("/sys/kernel/debug/rust_gpu/%s/messages", gpu->pci), O_RDONLY) < 0);
	CHECK(open("/sys/bus/pci/drivers/rust_gpu/unbind", O_WRONLY) < 0);
	return 0;
}

TEST_F_TIMEOUT(permissions, files_are_roots, 60)
{
	EXPECT_EQ(0, as_nobody(use_root_files, &self->gpu));
}

TEST_HARNESS_MAIN
