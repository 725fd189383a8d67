# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Random system calls on a plain directory and at a mount: everything must be the same, see
# differ.h. A difference is printed as the shortest sequence of calls that shows it.
#
# DIFFER_SEED and DIFFER_STEPS in the environment of tests/mount/run make other sequences, and
# longer ones.
#
# filesystems: ext4 xfs btrfs
# native: no
# timeout: 180

# As a program on a disk of its own would see it: set-uid programs and devices too.
start_differ() { # OPTIONS_OF_ZCFS...
	local options=()

	[[ $WHO != root ]] || options=(-o "allow_other,dev,suid")
	zcfs_mount "${options[@]}" "$@"
}

compare_at_random() { # DEFAULT_SEED OPTIONS_OF_DIFFER...
	local seed=${DIFFER_SEED:-$1} steps=${DIFFER_STEPS:-1500}

	shift
	differ --seed "$seed" --steps "$steps" --filesystem "$FILESYSTEM" --backing "$BACKING" "$@" \
		"$NATIVE" "$MNT"
	zcfs_unmount
	differ --trees "$@" "$NATIVE" "$BACKING"
}

# users: root user
test_all_that_can_be_seen_is_as_natively() {
	start_differ
	compare_at_random 1
}

test_all_that_can_be_seen_is_as_natively_with_all_caches() {
	start_differ -o cache=always
	compare_at_random 2 --cache always
}

test_all_that_can_be_seen_is_as_natively_without_the_page_cache() {
	start_differ -o cache=never
	compare_at_random 3 --cache never
}

test_all_that_can_be_seen_is_as_natively_with_writeback() {
	start_differ -o writeback
	compare_at_random 4 --writeback
}
