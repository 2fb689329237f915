// SPDX-License-Identifier: GPL-2.0
/*
 * The device stands still at a command of a type that says much: see stall_cells.h, and
 * stall_others.c for the other types.
 */
#include "stall_cells.h"

FIXTURE_VARIANT_ADD(stall, transfer)
{
	.type = { .name = "transfer", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, attach)
{
	.type = { .name = "attach", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, update_cursor)
{
	.type = { .name = "update-cursor", .held = "held-cursor", .flips = true },
};

FIXTURE_VARIANT_ADD(stall, edid)
{
	.type = { .name = "edid", .held = "held-control" },
};

TEST_HARNESS_MAIN
