#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Clients of Mesa that end badly: they are killed while they draw, or their device is taken away.
# The host counts what was made and destroyed. The C driver is not taken away from a client.
#
# KILLS and TAKEN are how often.

CLIENTS="1 2 3 4"
EVENTS="virtio_gpu_cmd_ctx_create virtio_gpu_cmd_ctx_destroy virtio_gpu_cmd_res_create_3d
	virtio_gpu_cmd_res_unref"
DRIVER=/sys/bus/pci/drivers/rust_gpu
# How much more memory QEMU may have in the end, in KiB.
GROWTH=65536

# is_even: whether the host has destroyed as many contexts and resources as were made.
is_even()
{
	# shellcheck disable=SC2086 # these are words
	even=$(ask counts $EVENTS) && echo "$even" || return
	# shellcheck disable=SC2086 # these are words
	set -- $even
	[ "$2" -gt 0 ] && [ "$2" = "$3" ] && [ "$4" -gt 0 ] && [ "$4" = "$5" ]
}

# killed: four clients are killed while they draw, some soon and some later.
killed()
{
	for kill_round in $(seq "$KILLS"); do
		killed=
		for kill_number in $CLIENTS; do
			start_glmark2 "glmark2-$kill_number"
			killed="$killed $GLMARK2"
		done
		await 300 glmark2_draws "glmark2-$((kill_round % 4 + 1))" || return
		# shellcheck disable=SC2086 # these are words
		kill -KILL $killed
		for kill_number in $killed; do
			await 60 is_over "$kill_number" || return
			wait "$kill_number"
		done
	done
	await 60 is_even && is_even || return
	keep killed "$KILLS times" >&5
}

is_bound()
{
	[ -e "$DRIVER/$DEVICE" ] && ls /dev/dri/renderD128
}

# taken: the device is taken from a client that draws, and given back.
taken()
{
	DEVICE=$(basename "$(readlink -f "$(connector 0)/device/device")")
	taken_before=$(ask memory) || return
	taken_round=0
	while [ "$taken_round" -lt "$TAKEN" ]; do
		taken_round=$((taken_round + 1))
		start_glmark2 glmark2-1
		await 300 glmark2_draws glmark2-1 || return
		echo "$DEVICE" >"$DRIVER/unbind" || return
		# Whether it ends by itself is Mesa's.
		sleep 0.2
		kill -KILL "$GLMARK2"
		await 60 is_over "$GLMARK2" || return
		wait "$GLMARK2"
		echo "$DEVICE" >"$DRIVER/bind" && await 30 is_bound || return
	done
	taken_after=$(ask memory) || return
	echo "$taken_before KiB before, $taken_after KiB after"
	[ $((${taken_after#* } - ${taken_before#* })) -lt "$GROWTH" ]
}

# begin_counts: lets the host count.
begin_counts()
{
	for event in $EVENTS; do
		ask trace "$event" || return
	done
}

test_gl "the host counts" begin_counts
test_gl "four clients are killed, $KILLS times" killed
if is_ours; then
	test_gl "the device is taken from a client, $TAKEN times" taken
fi
finish "$WORK/glmark2-1.log"
