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

# The sanitizers make a step ten times as long.
compare_at_random() { # STEPS DEFAULT_SEED OPTIONS_OF_DIFFER...
	local steps=$1 seed=${DIFFER_SEED:-$2}

	shift 2
	[[ $SANITIZER == none ]] || steps=1500
	steps=${DIFFER_STEPS:-$steps}
	differ --seed "$seed" --steps "$steps" --filesystem "$FILESYSTEM" --backing "$BACKING" "$@" \
		"$NATIVE" "$MNT"
	zcfs_unmount
	differ --trees "$@" "$NATIVE" "$BACKING"
}

# --- Each cache mode ------------------------------------------------------------------------------

# users: root user
test_all_that_can_be_seen_is_as_natively() {
	start_differ
	compare_at_random 10000 1
}

test_all_that_can_be_seen_is_as_natively_with_all_caches() {
	start_differ -o cache=always
	compare_at_random 10000 2 --cache always
}

test_all_that_can_be_seen_is_as_natively_without_the_page_cache() {
	start_differ -o cache=never
	compare_at_random 10000 3 --cache never
}

test_all_that_can_be_seen_is_as_natively_with_writeback() {
	start_differ -o writeback
	compare_at_random 10000 4 --writeback
}

# --- Each way that data takes ---------------------------------------------------------------------

test_all_that_can_be_seen_is_as_natively_with_passthrough() {
	start_differ --passthrough=rw
	compare_at_random 3000 5 --passthrough
}

test_all_that_can_be_seen_is_as_natively_with_plain_io() {
	start_differ --io=plain
	compare_at_random 3000 6
}

test_all_that_can_be_seen_is_as_natively_with_mixed_io() {
	start_differ --io=mixed
	compare_at_random 3000 13
}

test_all_that_can_be_seen_is_as_natively_when_copies_go_around_the_page_cache() {
	start_differ --copy=direct
	compare_at_random 3000 7
}

test_all_that_can_be_seen_is_as_natively_when_copies_go_by_copy_file_range() {
	start_differ --copy=kernel
	compare_at_random 3000 8
}

# --- atime ----------------------------------------------------------------------------------------

# Both sides in a mount of their own with that option.
mount_again() { # OPTION
	local directory

	for directory in "$NATIVE" "$BACKING"; do
		mount --bind "$directory" "$directory"
		mount -o "remount,bind,$1" "$directory"
	done
}

compare_atime() { # OPTION_OF_MOUNT SEED
	mount_again "$1"
	start_differ -o cache=never
	compare_at_random 2000 "$2" --cache never --atime
	umount "$NATIVE" "$BACKING"
}

test_atime_moves_as_natively() {
	compare_atime relatime 9
	rm -rf "${NATIVE:?}"/* "${BACKING:?}"/*
	compare_atime strictatime 10
	rm -rf "${NATIVE:?}"/* "${BACKING:?}"/*
	compare_atime noatime 11
}

test_atime_of_directories_moves_as_natively_with_caches() {
	start_differ
	compare_at_random 3000 12 --atime
}
