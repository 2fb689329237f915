/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that uses the display in one way, again and again, and obeys: for tests of a
 * device that stands still.
 */
#ifndef _STALL_USER_H
#define _STALL_USER_H

#include <sys/mount.h>
#include <sys/prctl.h>

#include "rust_gpu_test.h"
#include "words.h"

/* Longest that the test may let the process wait. */
#define AT_LEISURE_NS	(3 * GPU_PATIENCE_NS)
#define CGROUPS		"/tmp/rust_gpu_cgroups"
#define CGROUP		CGROUPS "/user"

/* A way to use the display. */
struct user {
	const char *name;
	/* On a device that works. Returns why there is nothing to test, or NULL. */
	const char *(*prepare)(void);
	/* On any device. Returns 0 or -errno. */
	int (*use)(void);
	/* Whether the screen is right, now or soon. */
	bool (*is_right)(void);
};

/* What is told to the process, and what it tells. */
enum { USE = 1, STOP, LOOK, PREPARED, USED, STOPPED, RIGHT, WRONG, FAILED };

/* The test's side. */
struct using {
	pid_t process;
	int to, from;
};

/* The process. Returns its exit status. */
static __maybe_unused int be_user(const struct user *user, int in, int out)
{
	const char *reason = user->prepare();
	__s64 longest = 0, start, took;
	unsigned int uses = 0;
	int ret;

	if (reason) {
		fprintf(stderr, "# %s: %s\n", user->name, reason);
		return say(out, FAILED) ? 1 : 2;
	}
	say(out, PREPARED);
	if (hear(in, AT_LEISURE_NS) != USE)
		return 2;
	do {
		start = now_ns();
		ret = user->use();
		took = now_ns() - start;
		if (ret) {
			fprintf(stderr, "# %s: %s\n", user->name, strerror(-ret));
			return say(out, FAILED) ? 1 : 2;
		}
		longest = took > longest ? took : longest;
		uses++;
		say(out, USED);
	} while (hear(in, 0) != STOP);
	fprintf(stderr, "# %u uses, longest %lld ms\n", uses, longest / NSEC_PER_MSEC);
	say(out, STOPPED);
	if (hear(in, AT_LEISURE_NS) != LOOK)
		return 2;
	return say(out, user->is_right() ? RIGHT : WRONG) ? 0 : 2;
}

/* Waits until the process says this. Returns 0 or -errno. */
static __maybe_unused int await(const struct using *using, int word, __s64 ns)
{
	const __s64 end = now_ns() + ns;
	int heard;

	do {
		heard = hear(using->from, end > now_ns() ? end - now_ns() : 0);
	} while (heard == USED && word != USED);
	return heard == word ? 0 : heard < 0 ? heard : -EPROTO;
}

/* Starts the process, and waits until it is prepared. Returns 0 or -errno. */
static __maybe_unused int user_start(const struct user *user, struct using *using)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -errno;
	using->process = fork();
	if (!using->process) {
		close(to[1]);
		close(from[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(be_user(user, to[0], from[1]));
	}
	close(to[0]);
	close(from[1]);
	using->to = to[1];
	using->from = from[0];
	return using->process < 0 ? -errno : await(using, PREPARED, GPU_PATIENCE_NS);
}

/* Kills the process. Returns how long it takes to exit, in ns, or -errno. */
static __maybe_unused __s64 user_kill(const struct using *using)
{
	__s64 start = now_ns(), took;
	int status;

	kill(using->process, SIGKILL);
	if (waitpid(using->process, &status, 0) != using->process)
		return -errno;
	took = now_ns() - start;
	close(using->to);
	close(using->from);
	return WIFSIGNALED(status) ? took : -ECHILD;
}

/*
 * Freezes the process, and lets it go on. Returns how long it takes until it is frozen,
 * in ns, or -errno.
 */
static __maybe_unused __s64 user_freeze(const struct using *using)
{
	__s64 start, took;
	int ret;

	mkdir(CGROUPS, 0755);
	if (access(CGROUPS "/cgroup.procs", F_OK) && mount("none", CGROUPS, "cgroup2", 0, NULL))
		return -errno;
	mkdir(CGROUP, 0755);
	ret = write_file(CGROUP "/cgroup.procs", path("%d", using->process));
	if (ret)
		return ret;
	start = now_ns();
	ret = write_file(CGROUP "/cgroup.freeze", "1");
	while (!ret && file_number(CGROUP "/cgroup.events", "frozen ") != 1) {
		if (now_ns() - start > GPU_PATIENCE_NS)
			ret = -ETIMEDOUT;
		sleep_ns(NSEC_PER_MSEC);
	}
	took = now_ns() - start;
	write_file(CGROUP "/cgroup.freeze", "0");
	return ret ? ret : took;
}

#endif /* _STALL_USER_H */
