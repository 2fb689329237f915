// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the structures of the kernel's own headers as bytes, one per line: name and hexadecimal
 * digits. layout_tests.rs compares them with what the Rust code writes and reads.
 *
 * The headers are found through -iquote.
 */

#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "virtio_gpu.h"
#include "virtio_pci.h"

static void print(const char *name, const void *data, size_t len)
{
	const unsigned char *byte = data;

	printf("%s ", name);
	while (len--)
		printf("%02x", *byte++);
	printf("\n");
}

static void number(const char *name, unsigned long value)
{
	printf("%s %lu\n", name, value);
}

static struct virtio_gpu_ctrl_hdr header(unsigned int type)
{
	struct virtio_gpu_ctrl_hdr hdr = {
		.type = htole32(type),
		.flags = htole32(VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX),
		.fence_id = htole64(0x0123456789abcdef),
		.ctx_id = htole32(0x11223344),
		.ring_idx = 0x55,
	};

	return hdr;
}

static void commands(void)
{
	struct virtio_gpu_ctrl_hdr info = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO);
	struct virtio_gpu_cmd_get_edid edid = {
		.hdr = header(VIRTIO_GPU_CMD_GET_EDID),
		.scanout = htole32(0x01020304),
	};
	struct virtio_gpu_get_capset_info capset = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET_INFO),
		.capset_index = htole32(0x01020304),
	};
	struct virtio_gpu_update_cursor cursor = {
		.hdr = header(VIRTIO_GPU_CMD_MOVE_CURSOR),
		.pos = {
			.scanout_id = htole32(0x01020304),
			.x = htole32(0x11121314),
			.y = htole32(0x21222324),
		},
		.resource_id = htole32(0x31323334),
	};

	print("get_display_info", &info, sizeof(info));
	print("get_edid", &edid, sizeof(edid));
	print("get_capset_info", &capset, sizeof(capset));
	print("move_cursor", &cursor, sizeof(cursor));
	cursor.hdr = header(VIRTIO_GPU_CMD_UPDATE_CURSOR);
	cursor.hot_x = htole32(0x41424344);
	cursor.hot_y = htole32(0x51525354);
	print("update_cursor", &cursor, sizeof(cursor));
}

static void resource_commands(void)
{
	struct virtio_gpu_rect r = {
		.x = htole32(0x11121314),
		.y = htole32(0x21222324),
		.width = htole32(0x31323334),
		.height = htole32(0x41424344),
	};
	struct virtio_gpu_resource_create_2d create = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_2D),
		.resource_id = htole32(0x01020304),
		.format = htole32(VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM),
		.width = r.width,
		.height = r.height,
	};
	struct virtio_gpu_resource_unref unref = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_UNREF),
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_set_scanout set = {
		.hdr = header(VIRTIO_GPU_CMD_SET_SCANOUT),
		.r = r,
		.scanout_id = htole32(0x51525354),
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_resource_flush flush = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_FLUSH),
		.r = r,
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_transfer_to_host_2d transfer = {
		.hdr = header(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D),
		.r = r,
		.offset = htole64(0x6162636465666768),
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_resource_attach_backing attach = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING),
		.resource_id = htole32(0x01020304),
		.nr_entries = htole32(0x51525354),
	};
	struct virtio_gpu_resource_detach_backing detach = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING),
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_mem_entry entry = {
		.addr = htole64(0x6162636465666768),
		.length = htole32(0x51525354),
	};

	print("resource_create_2d", &create, sizeof(create));
	print("resource_unref", &unref, sizeof(unref));
	print("set_scanout", &set, sizeof(set));
	print("resource_flush", &flush, sizeof(flush));
	print("transfer_to_host_2d", &transfer, sizeof(transfer));
	print("resource_attach_backing", &attach, sizeof(attach));
	print("resource_detach_backing", &detach, sizeof(detach));
	print("mem_entry", &entry, sizeof(entry));
}

static void render_commands(void)
{
	struct virtio_gpu_ctx_create create = {
		.hdr = header(VIRTIO_GPU_CMD_CTX_CREATE),
		.nlen = htole32(4),
		.context_init = htole32(0x01020304),
		.debug_name = "name",
	};
	struct virtio_gpu_ctx_destroy destroy = {
		.hdr = header(VIRTIO_GPU_CMD_CTX_DESTROY),
	};
	struct virtio_gpu_ctx_resource attach = {
		.hdr = header(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE),
		.resource_id = htole32(0x01020304),
	};
	struct virtio_gpu_resource_create_3d resource = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_3D),
		.resource_id = htole32(0x01020304),
		.target = htole32(0x11),
		.format = htole32(0x12),
		.bind = htole32(0x13),
		.width = htole32(0x14),
		.height = htole32(0x15),
		.depth = htole32(0x16),
		.array_size = htole32(0x17),
		.last_level = htole32(0x18),
		.nr_samples = htole32(0x19),
		.flags = htole32(0x1a),
	};
	struct virtio_gpu_transfer_host_3d transfer = {
		.hdr = header(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D),
		.box = {
			.x = htole32(0x21),
			.y = htole32(0x22),
			.z = htole32(0x23),
			.w = htole32(0x24),
			.h = htole32(0x25),
			.d = htole32(0x26),
		},
		.offset = htole64(0x6162636465666768),
		.resource_id = htole32(0x01020304),
		.level = htole32(0x31),
		.stride = htole32(0x32),
		.layer_stride = htole32(0x33),
	};
	struct virtio_gpu_cmd_submit submit = {
		.hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D),
		.size = htole32(0x01020304),
	};
	struct virtio_gpu_get_capset capset = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET),
		.capset_id = htole32(0x01020304),
		.capset_version = htole32(0x11121314),
	};

	print("ctx_create", &create, sizeof(create));
	print("ctx_destroy", &destroy, sizeof(destroy));
	print("ctx_attach_resource", &attach, sizeof(attach));
	attach.hdr = header(VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE);
	print("ctx_detach_resource", &attach, sizeof(attach));
	print("resource_create_3d", &resource, sizeof(resource));
	print("transfer_to_host_3d", &transfer, sizeof(transfer));
	transfer.hdr = header(VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D);
	print("transfer_from_host_3d", &transfer, sizeof(transfer));
	print("submit_3d", &submit, sizeof(submit));
	print("get_capset", &capset, sizeof(capset));
}

static void responses(void)
{
	struct {
		struct virtio_gpu_resp_capset resp;
		unsigned char data[4];
	} set = {
		.resp.hdr = header(VIRTIO_GPU_RESP_OK_CAPSET),
		.data = { 1, 2, 3, 4 },
	};
	struct virtio_gpu_ctrl_hdr nodata = header(VIRTIO_GPU_RESP_OK_NODATA);
	static struct virtio_gpu_resp_display_info info;
	static struct virtio_gpu_resp_edid edid;
	struct virtio_gpu_resp_capset_info capset = {
		.hdr = header(VIRTIO_GPU_RESP_OK_CAPSET_INFO),
		.capset_id = htole32(0x01020304),
		.capset_max_version = htole32(0x11121314),
		.capset_max_size = htole32(0x21222324),
	};
	int i;

	info.hdr = header(VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	for (i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		info.pmodes[i].r.x = htole32(0x100 + i);
		info.pmodes[i].r.y = htole32(0x200 + i);
		info.pmodes[i].r.width = htole32(0x300 + i);
		info.pmodes[i].r.height = htole32(0x400 + i);
		info.pmodes[i].enabled = htole32(i & 1);
		info.pmodes[i].flags = htole32(0x500 + i);
	}

	edid.hdr = header(VIRTIO_GPU_RESP_OK_EDID);
	edid.size = htole32(300);
	memset(edid.edid, 0x5a, 300);

	print("ok_nodata", &nodata, sizeof(nodata));
	print("ok_display_info", &info, sizeof(info));
	print("ok_capset_info", &capset, sizeof(capset));
	print("ok_edid", &edid, sizeof(edid));
	print("ok_capset", &set, sizeof(set.resp) + sizeof(set.data));
}

static void capabilities(void)
{
	struct virtio_pci_notify_cap notify = {
		.cap = {
			.cap_vndr = 9,
			.cap_len = sizeof(notify),
			.cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
			.bar = 4,
			.offset = htole32(0x3000),
			.length = htole32(0x1000),
		},
		.notify_off_multiplier = htole32(8),
	};
	struct virtio_pci_cap64 shared = {
		.cap = {
			.cap_vndr = 9,
			.cap_len = sizeof(shared),
			.cfg_type = VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
			.bar = 5,
			.id = VIRTIO_GPU_SHM_ID_HOST_VISIBLE,
			.offset = htole32(0x34567000),
			.length = htole32(0x00001000),
		},
		.offset_hi = htole32(0x12),
		.length_hi = htole32(0x3),
	};
	struct virtio_pci_cap cap = {
		.cap_vndr = 9,
		.cap_len = sizeof(cap),
		.cfg_type = VIRTIO_PCI_CAP_COMMON_CFG,
		.bar = 4,
		.length = htole32(0x1000),
	};

	print("cap_common", &cap, sizeof(cap));
	cap.cfg_type = VIRTIO_PCI_CAP_ISR_CFG;
	cap.offset = htole32(0x1000);
	print("cap_isr", &cap, sizeof(cap));
	cap.cfg_type = VIRTIO_PCI_CAP_DEVICE_CFG;
	cap.offset = htole32(0x2000);
	print("cap_device", &cap, sizeof(cap));
	print("cap_notify", &notify, sizeof(notify));
	print("cap_shared_memory", &shared, sizeof(shared));

	number("common_cfg_size", sizeof(struct virtio_pci_common_cfg));
	number("num_capsets_end", offsetof(struct virtio_gpu_config, num_capsets) + 4);
}

static void constants(void)
{
	number("capset_id_mask", VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK);
	number("format_B8G8R8A8", VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM);
	number("format_B8G8R8X8", VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
	number("format_A8R8G8B8", VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM);
	number("format_X8R8G8B8", VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM);
	number("format_R8G8B8A8", VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM);
	number("format_X8B8G8R8", VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM);
	number("format_A8B8G8R8", VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM);
	number("format_R8G8B8X8", VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM);
	number("err_unspec", VIRTIO_GPU_RESP_ERR_UNSPEC);
	number("err_out_of_memory", VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
	number("err_invalid_scanout_id", VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
	number("err_invalid_resource_id", VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	number("err_invalid_context_id", VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID);
	number("err_invalid_parameter", VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

int main(void)
{
	commands();
	resource_commands();
	render_commands();
	responses();
	capabilities();
	constants();
	return 0;
}
