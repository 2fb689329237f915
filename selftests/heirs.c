// SPDX-License-Identifier: GPL-2.0
/*
 * A client hands its file on and is killed, with packets in a device that stands still. The
 * file works for the heir, and is closed with its last descriptor, wherever that is.
 *
 * Environment: see display_screen.h
 */
#include <sys/socket.h>

#include "kselftest_harness.h"
#include "display_device.h"
#include "tdr.h"

#define REFERENCES	"/sys/module/rust_gpu/refcnt"
/* Longest until a client that is killed is gone. */
#define KILLED_NS	NSEC_PER_SEC

/* What the client has when it is killed. */
enum state {
	IN_RING,	/* a packet in the ring */
	QUEUED,		/* as many packets as it may have */
	WAITING,	/* a packet in the ring, for which it waits */
};

/* How the heir gets the file. */
enum way {
	BY_FORK,	/* it has opened it, and the client is its child */
	BY_MESSAGE,	/* the client sends it */
	NOT_AT_ALL,	/* the client sends it, and nobody takes it */
};

FIXTURE(heirs)
{
	struct gpu gpu;
	int screen;
	/* of the module, with none of this test's files open */
	__s64 references;
};

FIXTURE_VARIANT(heirs)
{
	enum state state;
	enum way way;
};

FIXTURE_VARIANT_ADD(heirs, fork_in_ring)
{
	.state = IN_RING,
	.way = BY_FORK,
};

FIXTURE_VARIANT_ADD(heirs, fork_queued)
{
	.state = QUEUED,
	.way = BY_FORK,
};

FIXTURE_VARIANT_ADD(heirs, fork_waiting)
{
	.state = WAITING,
	.way = BY_FORK,
};

FIXTURE_VARIANT_ADD(heirs, message_in_ring)
{
	.state = IN_RING,
	.way = BY_MESSAGE,
};

FIXTURE_VARIANT_ADD(heirs, message_queued)
{
	.state = QUEUED,
	.way = BY_MESSAGE,
};

FIXTURE_VARIANT_ADD(heirs, message_waiting)
{
	.state = WAITING,
	.way = BY_MESSAGE,
};

FIXTURE_VARIANT_ADD(heirs, nobody_in_ring)
{
	.state = IN_RING,
	.way = NOT_AT_ALL,
};

FIXTURE_VARIANT_ADD(heirs, nobody_queued)
{
	.state = QUEUED,
	.way = NOT_AT_ALL,
};

FIXTURE_SETUP(heirs)
{
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
	/* It stands still for as long as the test wants. */
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	self->references = file_number(REFERENCES, "");
	ASSERT_LE(0, self->references);
}

FIXTURE_TEARDOWN(heirs)
{
	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_is_sound(self->screen));
	close(self->screen);
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
}

union rights {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr header;
};

/* Sends a descriptor. Returns 0 or -errno. */
static int send_file(int to, int fd)
{
	union rights rights = {};
	struct iovec part = { .iov_base = "f", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes),
	};

	rights.header.cmsg_level = SOL_SOCKET;
	rights.header.cmsg_type = SCM_RIGHTS;
	rights.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
	return sendmsg(to, &message, 0) == 1 ? 0 : -errno;
}

/* Receives a descriptor. Returns it, or -errno. */
static int receive_file(int from)
{
	union rights rights = {};
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes),
	};
	int fd;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	if (message.msg_controllen < CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(&rights.header), sizeof(fd));
	return fd;
}

/*
 * The client: submits with @file, tells the last fence through @fences, and lives until it
 * is killed. If there is no file it opens one, and sends it through @files.
 */
static void be_client(const struct gpu *gpu, enum state state, int file, int files, int fences)
{
	__u64 fence, last;
	int ret;

	if (file < 0) {
		file = open(gpu->render, O_RDWR | O_CLOEXEC);
		if (file < 0 || send_file(files, file))
			_exit(1);
	}
	if (gpu_submit(file, RUST_GPU_NODE_CONTROL, 1, RUST_GPU_SUBMIT_NONBLOCK, &last) != 1)
		_exit(2);
	while (state == QUEUED) {
		ret = gpu_submit(file, RUST_GPU_NODE_CONTROL, 1, RUST_GPU_SUBMIT_NONBLOCK,
				 &fence);
		if (ret == -EAGAIN)
			break;
		if (ret != 1)
			_exit(3);
		last = fence;
	}
	if (write(fences, &last, sizeof(last)) != sizeof(last))
		_exit(4);
	if (state == WAITING)
		gpu_wait_fence(file, RUST_GPU_NODE_CONTROL, last,
			       now_ns() + 10 * GPU_PATIENCE_NS);
	pause();
	_exit(5);
}

/* Waits until so many references to the module are left. */
static bool references_become(__s64 wanted)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (file_number(REFERENCES, "") != wanted) {
		if (now_ns() > end)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

TEST_F_TIMEOUT(heirs, have_a_file_that_works, 60)
{
	__u64 fence, completed, submitted;
	int file = -1, files[2], fences[2];
	int status;
	__s64 begin;
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, files));
	ASSERT_EQ(0, pipe2(fences, O_CLOEXEC));
	if (variant->way == BY_FORK) {
		file = open(self->gpu.render, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, file);
	}
	ASSERT_EQ(0, device_ask(self->screen, "stall any"));
	child = fork();
	if (!child)
		be_client(&self->gpu, variant->state, file, files[1], fences[1]);
	ASSERT_LT(0, child);
	close(files[1]);
	close(fences[1]);
	ASSERT_EQ(sizeof(fence), read(fences[0], &fence, sizeof(fence)));
	/* Time for it to begin to wait. */
	sleep_ns(50 * NSEC_PER_MSEC);

	begin = now_ns();
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status)) TH_LOG("status %x", status);
	EXPECT_GE(KILLED_NS, now_ns() - begin);

	if (variant->way == BY_MESSAGE) {
		file = receive_file(files[0]);
		ASSERT_LE(0, file);
	}
	/* It is open, as somebody has it. */
	EXPECT_EQ(self->references + 1, file_number(REFERENCES, ""));
	if (file >= 0) {
		ASSERT_EQ(0, gpu_query(file, RUST_GPU_NODE_CONTROL, &completed, &submitted));
		EXPECT_LT(completed, fence);
		EXPECT_LE(fence, submitted);
		if (variant->state == QUEUED)
			EXPECT_EQ(-EAGAIN, gpu_submit(file, RUST_GPU_NODE_CONTROL, 1,
						      RUST_GPU_SUBMIT_NONBLOCK, &submitted));
		ASSERT_EQ(0, device_resume(self->screen));
		EXPECT_EQ(0, gpu_wait_fence(file, RUST_GPU_NODE_CONTROL, fence,
					    now_ns() + GPU_PATIENCE_NS));
		EXPECT_EQ(0, gpu_works(file));
		EXPECT_EQ(1, gpu_submit(file, RUST_GPU_NODE_CONTROL, 1, 0, &fence));
	}
	close(file);
	close(files[0]);
	close(fences[0]);
	EXPECT_TRUE(references_become(self->references))
		TH_LOG("%lld, were %lld", file_number(REFERENCES, ""), self->references);

	/* What was submitted with it, and nobody waits for, does not hold others up. */
	ASSERT_EQ(0, device_resume(self->screen));
	file = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, file);
	EXPECT_EQ(0, gpu_works(file));
	EXPECT_EQ(0, gpu_calm(file));
	close(file);
}

TEST_HARNESS_MAIN
