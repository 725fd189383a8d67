# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# What the kernel has in its cache and zcfs does not know of, with -o writeback.
#
# native: no

# dd's conv=fsync is the first that can know: write(2) has returned long before.
test_a_write_that_ends_short_fails_fsync() {
	under=(prlimit --fsize=102400)
	zcfs_mount -o writeback,threads=1
	fails_with 'fsync failed.*File too large' \
		dd if=/dev/zero of="$MNT/f" bs=1M count=1 conv=fsync
	same "$(stat -c %s "$BACKING/f")" 102400
}

test_a_write_that_ends_short_is_short_for_the_caller_without_a_cache() {
	under=(prlimit --fsize=102400)
	zcfs_mount -o cache=never
	fails_with 'File too large' dd if=/dev/zero of="$MNT/f" bs=1M count=1
	same "$(stat -c %s "$BACKING/f")" 102400
}
