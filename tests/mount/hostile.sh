# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Users at the mount who mean no good.

# The canary lies open to everybody but behind a directory that only root may enter: what happens to
# it was done with zcfs's rights. The arena is sticky, so that only its owner moves what is in it.
# timeout: 120
# native: no
test_no_operation_is_led_out_by_swapped_symbolic_links() {
	local before

	mkdir -p "$WORK/closed/outside" "$BACKING/arena/a"
	echo canary | tee "$WORK/closed/outside/canary" "$WORK/closed/outside/file" >/dev/null
	chmod -R 777 "$WORK/closed/outside" "$BACKING/arena"
	chmod 700 "$WORK/closed"
	chmod 1777 "$BACKING/arena"
	: >"$BACKING/arena/a/file"
	chmod 666 "$BACKING/arena/a/file"
	before=$(describe_tree "$WORK/closed")
	zcfs_mount -o allow_other,attr_timeout=0,entry_timeout=0
	swap "$BACKING/arena" "$MNT/arena" "$WORK/closed/outside" "$(big 300 3000)" >"$WORK/swaps" &
	wait $! || fail "swap: $(<"$WORK/swaps")"
	note "$(<"$WORK/swaps")"
	same "$(describe_tree "$WORK/closed")" "$before"
}

# native: no
test_descriptors_and_inodes_come_back_after_many_opens() {
	local fds

	zcfs_mount
	: >"$MNT/f"
	fds=$(counter zcfs_open_fds)
	hostile_opens "$MNT/f" "$(big 5000 50000)"
	wait_until 30 has_at_most zcfs_open_fds "$((fds + 2))" || fail 'descriptors are left'
}

hostile_opens() { # FILE COUNT
	local i

	for ((i = 0; i < $2; i++)); do
		exec 5<"$1"
		exec 5<&-
	done
}

has_at_most() { # COUNTER NUMBER
	(($(counter "$1") <= $2))
}
