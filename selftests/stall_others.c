// SPDX-License-Identifier: GPL-2.0
/* The device stands still at a command that is not in stall_matrix.c: see stall_cells.h. */
#include "stall_cells.h"

FIXTURE_VARIANT_ADD(stall, display_info)
{
	.type = { .name = "display-info", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, create)
{
	.type = { .name = "create", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, unref)
{
	.type = { .name = "unref", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, scanout)
{
	.type = { .name = "scanout", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, flush)
{
	.type = { .name = "flush", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, detach)
{
	.type = { .name = "detach", .held = "held-control" },
};

FIXTURE_VARIANT_ADD(stall, move_cursor)
{
	.type = { .name = "move-cursor", .held = "held-cursor", .flips = true },
};

TEST_HARNESS_MAIN
