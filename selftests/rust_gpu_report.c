// SPDX-License-Identifier: GPL-2.0
/* Prints a description of a device of rust_gpu and checks it. */
#include <ctype.h>
#include <sys/utsname.h>

#include "rust_gpu_test.h"

#define ROUND_TRIPS	21
#define PACKETS		100

struct report {
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	int fd;
	/* A part of the report is missing or wrong. */
	bool incomplete;
};

static const char *const node_names[] = { "control", "cursor", "software" };

static const struct {
	unsigned int bit;
	const char *name;
} features[] = {
	{ 0, "VIRTIO_GPU_F_VIRGL" },
	{ 1, "VIRTIO_GPU_F_EDID" },
	{ 2, "VIRTIO_GPU_F_RESOURCE_UUID" },
	{ 3, "VIRTIO_GPU_F_RESOURCE_BLOB" },
	{ 4, "VIRTIO_GPU_F_CONTEXT_INIT" },
	{ 24, "VIRTIO_F_NOTIFY_ON_EMPTY" },
	{ 27, "VIRTIO_F_ANY_LAYOUT" },
	{ 28, "VIRTIO_F_INDIRECT_DESC" },
	{ 29, "VIRTIO_F_EVENT_IDX" },
	{ 32, "VIRTIO_F_VERSION_1" },
	{ 33, "VIRTIO_F_ACCESS_PLATFORM" },
	{ 34, "VIRTIO_F_RING_PACKED" },
	{ 35, "VIRTIO_F_IN_ORDER" },
	{ 36, "VIRTIO_F_ORDER_PLATFORM" },
	{ 37, "VIRTIO_F_SR_IOV" },
	{ 38, "VIRTIO_F_NOTIFICATION_DATA" },
	{ 39, "VIRTIO_F_NOTIF_CONFIG_DATA" },
	{ 40, "VIRTIO_F_RING_RESET" },
	{ 41, "VIRTIO_F_ADMIN_VQ" },
};

static __printf(2, 3) bool failed(struct report *report, const char *format, ...)
{
	va_list args;

	printf("  ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	report->incomplete = true;
	return false;
}

static bool open_device(struct report *report)
{
	int ret;

	if (!gpu_present(&report->gpu)) {
		fprintf(stderr, "rust_gpu_report: " NO_GPU "\n");
		return false;
	}
	report->fd = open(report->gpu.render, O_RDWR | O_CLOEXEC);
	if (report->fd < 0) {
		fprintf(stderr, "rust_gpu_report: %s: %s\n", report->gpu.render, strerror(errno));
		return false;
	}
	ret = gpu_info(report->fd, &report->info);
	if (ret)
		fprintf(stderr, "rust_gpu_report: device information: %s\n", strerror(-ret));
	return !ret;
}

static void print_device(struct report *report)
{
	static const char *const types[] = { "INTx", "MSI", "MSI-X" };
	const struct drm_rust_gpu_device_info *info = &report->info;
	struct gpu_version version;
	struct utsname system;

	uname(&system);
	printf("Device\n");
	printf("  %-18s%s %s\n", "kernel", system.sysname, system.release);
	printf("  %-18s%s, driver rust_gpu\n", "PCI function", report->gpu.pci);
	printf("  %-18s%s, %s\n", "nodes", report->gpu.card, report->gpu.render);
	if (!gpu_version(report->fd, &version))
		printf("  %-18s%s %d.%d.%d, \"%s\"\n", "DRM driver", version.name,
		       version.major, version.minor, version.patch, version.desc);
	printf("  %-18s%u x %s\n", "interrupts", info->messages,
	       info->interrupt_type < ARRAY_SIZE(types) ? types[info->interrupt_type] : "?");
	printf("  %-18s%u\n", "capability sets", info->capsets);
	printf("  %-18s%llu\n", "adapter handle", info->handle);
}

static void print_feature(const struct drm_rust_gpu_device_info *info, unsigned int bit,
			  const char *name)
{
	printf("  %3u  %-28s%-9s%s\n", bit, name,
	       info->device_features >> bit & 1 ? "yes" : "-",
	       info->driver_features >> bit & 1 ? "yes" : "-");
}

static void print_features(const struct drm_rust_gpu_device_info *info)
{
	__u64 unnamed = info->device_features | info->driver_features;
	unsigned int i;

	printf("\nFeatures\n  %3s  %-28s%-9s%s\n", "bit", "name", "offered", "negotiated");
	for (i = 0; i < ARRAY_SIZE(features); i++) {
		if (unnamed >> features[i].bit & 1)
			print_feature(info, features[i].bit, features[i].name);
		unnamed &= ~(1ULL << features[i].bit);
	}
	for (i = 0; i < 64; i++)
		if (unnamed >> i & 1)
			print_feature(info, i, "(no name)");
}

static void print_scanouts(const struct drm_rust_gpu_device_info *info)
{
	char name[sizeof(info->edid_name) + 1] = "";
	unsigned int i;

	memcpy(name, info->edid_name, sizeof(info->edid_name));
	printf("\nScanouts\n  %3s  %-12s%-12s%-10s%s\n", "no", "size", "position", "enabled",
	       "monitor name (EDID)");
	for (i = 0; i < info->scanouts && i < RUST_GPU_MAX_SCANOUTS; i++) {
		const struct drm_rust_gpu_scanout *scanout = &info->scanout[i];
		char size[32], position[32];

		snprintf(size, sizeof(size), "%ux%u", scanout->width, scanout->height);
		snprintf(position, sizeof(position), "%u,%u", scanout->x, scanout->y);
		printf("  %3u  %-12s%-12s%-10s%s\n", i, size, position,
		       scanout->enabled ? "yes" : "no", i ? "-" : name[0] ? name : "(none)");
	}
}

static void print_messages(const struct drm_rust_gpu_device_info *info)
{
	const struct {
		__u32 message;
		const char *what;
	} served[] = {
		{ info->config_message, "configuration changes" },
		{ info->control_message, "control queue" },
		{ info->cursor_message, "cursor queue" },
		{ info->notify_message, "NotifyInterrupt (scheduler state)" },
		{ info->dpc_message, "DPC" },
	};
	unsigned int i, j;

	printf("\nInterrupt messages\n  %3s  %s\n", "no", "serves");
	for (i = 0; i < info->messages; i++) {
		const char *comma = "";

		printf("  %3u  ", i);
		for (j = 0; j < ARRAY_SIZE(served); j++) {
			if (served[j].message != i)
				continue;
			printf("%s%s", comma, served[j].what);
			comma = ", ";
		}
		printf("\n");
	}
}

static void print_round_trips(struct report *report)
{
	__s64 times[ROUND_TRIPS], start;
	__u64 fence = 0;
	__u32 node;
	int i, ret;

	printf("\nRound trip of one fenced packet, submission to wake-up (%d times)\n"
	       "  %-10s%10s%14s%14s\n", ROUND_TRIPS, "node", "fence", "median us", "longest us");
	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (i = 0, ret = 0; i < ROUND_TRIPS; i++) {
			start = now_ns();
			ret = gpu_submit(report->fd, node, 1, 0, &fence);
			if (ret != 1)
				break;
			ret = gpu_wait_fence(report->fd, node, fence, start + GPU_PATIENCE_NS);
			if (ret)
				break;
			times[i] = now_ns() - start;
		}
		if (i < ROUND_TRIPS) {
			failed(report, "%-10s%s", node_names[node],
			       strerror(ret < 0 ? -ret : EIO));
			continue;
		}
		qsort(times, ROUND_TRIPS, sizeof(times[0]), compare_times);
		printf("  %-10s%10llu%14.1f%14.1f\n", node_names[node], fence,
		       times[ROUND_TRIPS / 2] / 1e3, times[ROUND_TRIPS - 1] / 1e3);
	}
}

static const char *status_name(__u32 status)
{
	switch (status) {
	case RUST_GPU_STATUS_SUCCESS:
		return "STATUS_SUCCESS";
	case RUST_GPU_STATUS_UNSUCCESSFUL:
		return "STATUS_UNSUCCESSFUL";
	case RUST_GPU_STATUS_INVALID_PARAMETER:
		return "STATUS_INVALID_PARAMETER";
	default:
		return "(no such status)";
	}
}

/* Makes one call through the test module, and prints arguments, answer and effect. */
static bool show_call(struct report *report, int test, __u64 handle, __u32 message,
		      __u32 expected, const char *what)
{
	struct rust_gpu_sync_test_call call = {
		.handle = handle,
		.message = message,
	};
	bool ran = expected == RUST_GPU_STATUS_SUCCESS;
	int ret = gpu_ioctl(test, RUST_GPU_SYNC_TEST_CALL, &call);

	if (ret)
		return failed(report, "%s: %s", what, strerror(-ret));
	printf("  0x%08X %-26s%-34s%-13s%s\n", call.status, status_name(call.status), what,
	       call.runs ? "ran" : "did not run",
	       call.return_value == RUST_GPU_SYNC_TEST_POISON ? "untouched" :
	       call.return_value ? "TRUE" : "FALSE");
	if (call.status != expected || call.runs != ran ||
	    call.return_value != (ran ? 1 : RUST_GPU_SYNC_TEST_POISON))
		return failed(report, "expected 0x%08X %s", expected, status_name(expected));
	return true;
}

/*
 * Gets each of the three answers from the driver. For the last one the device is
 * unbound, and bound again afterwards.
 */
static bool print_tristate(struct report *report, bool keep_bound)
{
	__u64 handle = report->info.handle;
	char what[64];
	bool loaded;
	int test, ret;

	printf("\nsynchronize_execution, each answer obtained from the running kernel\n"
	       "  %-37s%-34s%-13s%s\n", "answer", "asked", "routine", "return value");
	test = sync_test_open(&loaded);
	if (test < 0) {
		failed(report, "the module rust_gpu_sync_test is not there: %s", strerror(-test));
		return true;
	}
	show_call(report, test, handle, 0, RUST_GPU_STATUS_SUCCESS, "message 0");
	snprintf(what, sizeof(what), "message %u of %u", report->info.messages,
		 report->info.messages);
	show_call(report, test, handle, report->info.messages,
		  RUST_GPU_STATUS_INVALID_PARAMETER, what);
	if (keep_bound) {
		sync_test_close(test, loaded);
		return true;
	}

	close(report->fd);
	report->fd = -1;
	ret = gpu_unbind(&report->gpu);
	if (ret)
		failed(report, "unbind: %s", strerror(-ret));
	else
		show_call(report, test, handle, 0, RUST_GPU_STATUS_UNSUCCESSFUL,
			  "message 0, device unbound");
	ret = gpu_bind(&report->gpu);
	sync_test_close(test, loaded);
	if (ret) {
		failed(report, "bind: %s", strerror(-ret));
		return false;
	}
	return open_device(report);
}

static void print_counters(struct report *report)
{
	struct drm_rust_gpu_message_counters counters;
	__u64 fence, dpcs_run = 0;
	__u32 node, i;
	int ret;

	printf("\nInterrupts and DPCs after %d packets to each node, one at a time\n"
	       "  %7s%11s%10s%8s%9s%12s%15s\n", PACKETS, "message", "interrupts", "not ours",
	       "DPCs", "refused", "executions", "notifications");
	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (i = 0; i < PACKETS; i++) {
			ret = gpu_submit(report->fd, node, 1, 0, &fence);
			if (ret == 1)
				ret = gpu_wait_fence(report->fd, node, fence,
						     now_ns() + GPU_PATIENCE_NS);
			if (ret) {
				failed(report, "%s: %s", node_names[node], strerror(-ret));
				return;
			}
		}
	}
	for (i = 0; i < report->info.messages; i++) {
		ret = gpu_counters(report->fd, i, &counters);
		if (ret || counters.status) {
			failed(report, "message %u: %s", i, strerror(-ret));
			continue;
		}
		printf("  %7u%11llu%10llu%8llu%9llu%12llu%15llu\n", i, counters.interrupts,
		       counters.not_ours, counters.dpcs_queued, counters.dpcs_refused,
		       counters.executions, counters.notifications);
		dpcs_run = counters.dpcs_run;
	}
	printf("  DPC runs: %llu\n", dpcs_run);
}

static void print_help(FILE *stream)
{
	fputs("Usage: rust_gpu_report [OPTION]\n"
	      "Prints what the first device bound to rust_gpu is and does.\n\n"
	      "  -k, --keep-bound  do not unbind the device; STATUS_UNSUCCESSFUL is not shown\n"
	      "  -c, --check       print nothing, only tell whether the device works\n"
	      "  -h, --help        print this text\n\n"
	      "Exit status: 0 all is as it should be, 1 something is not, 2 wrong usage,\n"
	      "4 there is no such device.\n", stream);
}

int main(int argc, char **argv)
{
	struct report report = { .fd = -1 };
	bool keep_bound = false, check = false;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			print_help(stdout);
			return 0;
		} else if (!strcmp(argv[i], "-k") || !strcmp(argv[i], "--keep-bound")) {
			keep_bound = true;
		} else if (!strcmp(argv[i], "-c") || !strcmp(argv[i], "--check")) {
			check = true;
		} else {
			print_help(stderr);
			return 2;
		}
	}
	if (!open_device(&report))
		return report.gpu.render[0] ? 1 : 4;
	if (check)
		return gpu_works(report.fd) ? 1 : 0;

	print_device(&report);
	print_features(&report.info);
	print_scanouts(&report.info);
	print_messages(&report.info);
	print_round_trips(&report);
	if (!print_tristate(&report, keep_bound))
		return 1;
	print_counters(&report);
	close(report.fd);
	return report.incomplete;
}
