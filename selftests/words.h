/* SPDX-License-Identifier: GPL-2.0 */
/* Words of one byte that two processes say to each other by pipes. */
#ifndef _WORDS_H
#define _WORDS_H

#include "rust_gpu_test.h"

/* Waits for a word. Returns it, or -errno. */
static __maybe_unused int hear(int from, __s64 ns)
{
	struct pollfd poll_from = { .fd = from, .events = POLLIN };
	unsigned char word;
	int ret = poll(&poll_from, 1, ns / NSEC_PER_MSEC);

	if (ret != 1)
		return ret ? -errno : -ETIMEDOUT;
	return read(from, &word, 1) == 1 ? word : -EPIPE;
}

static __maybe_unused bool say(int to, unsigned char word)
{
	return write(to, &word, 1) == 1;
}

#endif /* _WORDS_H */
