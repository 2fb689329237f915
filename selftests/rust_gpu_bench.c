// SPDX-License-Identifier: GPL-2.0
/* Measures the cost of synchronised routines, of packets and of a bound device. */
#include "kernel_memory.h"
#include "rust_gpu_test.h"

struct bench {
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	int fd;
	__u32 loops;
	__u32 packets;
};

struct tally {
	__u64 interrupts;
	__u64 dpcs;
	__u64 notifications;
};

static const char *const node_names[] = { "control", "cursor", "software" };

static int open_device(struct bench *bench)
{
	bench->fd = open(bench->gpu.render, O_RDWR | O_CLOEXEC);
	if (bench->fd < 0)
		return -errno;
	return gpu_info(bench->fd, &bench->info);
}

/* (a) an empty synchronised routine, compared to C. */
static int bench_execution(struct bench *bench)
{
	struct rust_gpu_sync_test_bench args = {
		.handle = bench->info.handle,
		.message = bench->info.config_message,
		.loops = bench->loops,
	};
	bool loaded;
	int test = sync_test_open(&loaded);
	int ret;

	printf("(a) An empty synchronised routine, %u calls, best of 5\n", bench->loops);
	if (test < 0) {
		printf("    the module rust_gpu_sync_test is not there\n");
		return test;
	}
	ret = gpu_ioctl(test, RUST_GPU_SYNC_TEST_BENCH, &args);
	sync_test_close(test, loaded);
	if (ret) {
		printf("    %s\n", strerror(-ret));
		return ret;
	}
	printf("    %-44s%10s%10s\n", "", "ns/call", "ratio");
	printf("    %-44s%10.2f%10.3f\n", "rust_gpu_synchronize_execution()",
	       (double)args.service_ns / args.loops,
	       (double)args.service_ns / args.reference_ns);
	printf("    %-44s%10.2f%10.3f\n", "the same checks and counters in C",
	       (double)args.reference_ns / args.loops, 1.0);
	printf("    %-44s%10.2f%10.3f\n", "spin_lock_irqsave(), spin_unlock_irqrestore()",
	       (double)args.lock_ns / args.loops, (double)args.lock_ns / args.reference_ns);
	printf("    %-44s%10.2f%10.3f\n", "spin_lock_irq_disable(), its unlock",
	       (double)args.irq_disable_ns / args.loops,
	       (double)args.irq_disable_ns / args.reference_ns);
	return 0;
}

/* (b) a fenced null packet, submission to wake-up. */
static int bench_round_trip(struct bench *bench)
{
	__s64 *times = calloc(bench->packets, sizeof(*times)), start;
	__u32 node, i;
	__u64 fence;
	int ret = 0;

	if (!times)
		return -ENOMEM;
	printf("\n(b) A fenced null packet, submission to wake-up, us, of %u\n", bench->packets);
	printf("    %-12s%10s%10s%10s%10s\n", "node", "shortest", "median", "99 %", "longest");
	for (node = 0; node < GPU_NULL_NODES && !ret; node++) {
		for (i = 0; i < bench->packets; i++) {
			start = now_ns();
			ret = gpu_submit(bench->fd, node, 1, 0, &fence);
			if (ret == 1)
				ret = gpu_wait_fence(bench->fd, node, fence,
						     start + GPU_PATIENCE_NS);
			if (ret)
				break;
			times[i] = now_ns() - start;
		}
		if (ret) {
			printf("    %-12s%s\n", node_names[node], strerror(-ret));
			break;
		}
		qsort(times, bench->packets, sizeof(*times), compare_times);
		printf("    %-12s%10.1f%10.1f%10.1f%10.1f\n", node_names[node], times[0] / 1e3,
		       times[bench->packets / 2] / 1e3, times[bench->packets * 99ULL / 100] / 1e3,
		       times[bench->packets - 1] / 1e3);
	}
	free(times);
	return ret;
}

static int read_tally(struct bench *bench, struct tally *tally)
{
	struct drm_rust_gpu_message_counters counters;
	__u32 message;
	int ret = gpu_quiesce(bench->fd);

	memset(tally, 0, sizeof(*tally));
	/* The last DPC may run after the waiters were woken. */
	sleep_ns(50 * NSEC_PER_MSEC);
	for (message = 0; message < bench->info.messages && !ret; message++) {
		ret = gpu_counters(bench->fd, message, &counters);
		tally->interrupts += counters.interrupts;
		tally->dpcs = counters.dpcs_run;
		tally->notifications += counters.notifications;
	}
	return ret;
}

/* Submits in batches of @batch and waits for each of them. */
static int submit_batches(struct bench *bench, __u32 node, __u32 batch)
{
	__u32 left = bench->packets, count;
	__u64 fence;
	int ret;

	while (left) {
		count = left < batch ? left : batch;
		ret = gpu_submit(bench->fd, node, count, 0, &fence);
		if (ret <= 0)
			return ret ? ret : -EIO;
		left -= ret;
		ret = gpu_wait_fence(bench->fd, node, fence, now_ns() + GPU_PATIENCE_NS);
		if (ret)
			return ret;
	}
	return 0;
}

/* (c) interrupts, DPCs and notifications of a packet. */
static int bench_counts(struct bench *bench)
{
	static const __u32 batches[] = { 1, 64 };
	struct tally before, after;
	__u32 node, i;
	int ret;

	printf("\n(c) Per 1000 packets, of %u\n", bench->packets);
	printf("    %-12s%8s%14s%14s%16s\n", "node", "batch", "interrupts", "DPCs",
	       "notifications");
	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (i = 0; i < ARRAY_SIZE(batches); i++) {
			ret = read_tally(bench, &before);
			if (!ret)
				ret = submit_batches(bench, node, batches[i]);
			if (!ret)
				ret = read_tally(bench, &after);
			if (ret) {
				printf("    %-12s%s\n", node_names[node], strerror(-ret));
				return ret;
			}
			printf("    %-12s%8u%14.0f%14.0f%16.0f\n", node_names[node], batches[i],
			       (after.interrupts - before.interrupts) * 1e3 / bench->packets,
			       (after.dpcs - before.dpcs) * 1e3 / bench->packets,
			       (after.notifications - before.notifications) * 1e3 /
			       bench->packets);
		}
	}
	return 0;
}

#define MEMORY_ROUNDS	15

static __s64 median(__s64 *values)
{
	qsort(values, MEMORY_ROUNDS, sizeof(values[0]), compare_times);
	return values[MEMORY_ROUNDS / 2];
}

/* (d) memory of a bound device. */
static int bench_memory(struct bench *bench)
{
	__s64 kernel[MEMORY_ROUNDS], pages[MEMORY_ROUNDS];
	__s64 bound_kernel, bound_pages, kernel_kb, pages_kb, dma;
	int i, ret = 0;

	close(bench->fd);
	bench->fd = -1;
	dma = file_number(path("/sys/kernel/debug/rust_gpu/%s/memory", bench->gpu.pci),
			  "dma bytes:");
	for (i = 0; i < MEMORY_ROUNDS && !ret; i++) {
		kernel_memory(&bound_kernel, &bound_pages);
		ret = gpu_unbind(&bench->gpu);
		if (ret)
			break;
		kernel_memory(&kernel[i], &pages[i]);
		kernel[i] = bound_kernel - kernel[i];
		pages[i] -= bound_pages;
		ret = gpu_bind(&bench->gpu);
	}
	printf("\n(d) Memory of a bound device, median of %d times bound and unbound\n",
	       MEMORY_ROUNDS);
	if (ret) {
		printf("    %s\n", strerror(-ret));
		return ret;
	}
	kernel_kb = median(kernel);
	pages_kb = median(pages);
	printf("    %-44s%7lld kB\n", "slab, vmalloc, per-CPU data, stacks", kernel_kb);
	printf("    %-44s%7lld kB\n", "all pages, these included", pages_kb);
	if (dma >= 0)
		printf("    %-44s%7lld kB\n", "memory that the device reaches (DMA)", dma / 1024);
	return open_device(bench);
}

static void print_help(FILE *stream)
{
	fputs("Usage: rust_gpu_bench [OPTION]\n"
	      "Measures the first device bound to rust_gpu. It is unbound and bound again.\n\n"
	      "  -l, --loops N    calls of the synchronised routine (100000)\n"
	      "  -p, --packets N  packets for each node (1000)\n"
	      "  -a, --only-a     only the synchronised routine\n"
	      "  -h, --help       print this text\n\n"
	      "Exit status: 0 all was measured, 1 something was not, 2 wrong usage, 4 there is\n"
	      "no such device.\n", stream);
}

static bool number(const char *text, __u32 limit, __u32 *value)
{
	char *end;
	unsigned long parsed = text ? strtoul(text, &end, 10) : 0;

	if (!parsed || parsed > limit || *end)
		return false;
	*value = parsed;
	return true;
}

int main(int argc, char **argv)
{
	struct bench bench = { .fd = -1, .loops = 100000, .packets = 1000 };
	bool only_a = false, good = true, failed;
	int i;

	for (i = 1; i < argc && good; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			print_help(stdout);
			return 0;
		} else if (!strcmp(argv[i], "-a") || !strcmp(argv[i], "--only-a")) {
			only_a = true;
		} else if (!strcmp(argv[i], "-l") || !strcmp(argv[i], "--loops")) {
			good = number(argv[++i], 10000000, &bench.loops);
		} else if (!strcmp(argv[i], "-p") || !strcmp(argv[i], "--packets")) {
			good = number(argv[++i], 1000000, &bench.packets);
		} else {
			good = false;
		}
	}
	if (!good) {
		print_help(stderr);
		return 2;
	}
	if (!gpu_present(&bench.gpu) || open_device(&bench)) {
		fprintf(stderr, "rust_gpu_bench: " NO_GPU "\n");
		return 4;
	}
	failed = bench_execution(&bench);
	if (!only_a) {
		failed |= bench_round_trip(&bench);
		failed |= bench_counts(&bench);
		failed |= bench_memory(&bench);
	}
	return failed;
}
