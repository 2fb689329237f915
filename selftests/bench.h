/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs that measure both drivers have in common: options and figures. */
#ifndef _BENCH_H
#define _BENCH_H

#include "rust_gpu_test.h"

/* Each program has its own. */
struct bench;

/* Where figures go. */
struct report {
	char driver[64];	/* that has the device */
	bool machine;		/* lines for a program */
	bool failed;
};

struct operation {
	const char *name;
	int (*run)(struct bench *bench, unsigned int i);
	unsigned int times;
	bool paced;		/* waits until the device is done with it */
	bool sized;		/* costs more on a larger screen */
};

struct group {
	const char *name;
	void (*run)(struct bench *bench);
};

/* Prints one figure. */
static void tell(const struct report *report, const char *what, const char *unit, double value)
{
	if (report->machine)
		printf("=\t%s\t%s\t%s\t%.3f\n", report->driver, what, unit, value);
	else
		printf("  %-40s%16.2f %s\n", what, value, unit);
	fflush(stdout);
}

/* Says that something could not be measured. */
static void fail(struct report *report, const char *what, const char *reason)
{
	printf("# %s: %s: not measured: %s\n", report->driver, what, reason);
	report->failed = true;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned int count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2];
}

/* Runs an operation some times, with a pause after each. Returns 0 or -errno. */
static int repeat(struct bench *bench, const struct operation *operation, unsigned int from,
		  unsigned int times, __s64 pause)
{
	unsigned int i;
	int ret = 0;

	for (i = from; i < from + times && !ret; i++) {
		ret = operation->run(bench, i);
		if (pause)
			sleep_ns(pause);
	}
	return ret;
}

/* Returns the groups to run as bits, 0 for wrong usage. */
static unsigned int parse(int argc, char **argv, struct report *report,
			  const struct group *groups, unsigned int count)
{
	unsigned int wanted = 0, i;
	int word;

	for (word = 1; word < argc; word++) {
		if (!strcmp(argv[word], "-m") || !strcmp(argv[word], "--machine")) {
			report->machine = true;
			continue;
		}
		for (i = 0; i < count && strcmp(argv[word], groups[i].name); i++)
			;
		if (i == count)
			return 0;
		wanted |= 1 << i;
	}
	return wanted ? wanted : (1 << count) - 1;
}

static bool wants_help(int argc, char **argv)
{
	return argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
}

#endif /* _BENCH_H */
