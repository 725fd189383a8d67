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

# The kernel keeps mtime and ctime itself, and tells mtime when it has written back.
# filesystems: ext4 xfs btrfs
test_the_mtime_that_was_shown_is_that_of_the_backing_file_after_unmounting() {
	local shown

	zcfs_mount -o writeback
	echo one >"$MNT/f"
	echo two >"$MNT/g"
	touch -d '2001-02-03 04:05:06.789' "$MNT/g"
	nap
	echo more >>"$MNT/f"
	shown=$(stat -c '%n %Y %y %s' "$MNT/f" "$MNT/g")
	zcfs_unmount
	same "$(cd "$BACKING" && stat -c "$MNT/%n %Y %y %s" f g)" "$shown"
}

# A limit of 4 MiB for all below it: what goes beyond is EDQUOT.
limit_subvolume() { # DIRECTORY
	btrfs quota enable "${1%/*}"
	btrfs subvolume create "$1" >/dev/null
	btrfs qgroup limit 4M "$1"
	sync -f "$1"
}

# filesystems: btrfs
# needs: btrfs
test_a_quota_that_is_used_up_is_told() {
	limit_subvolume "$BACKING/limited"
	zcfs_mount
	fails_with 'Disk quota exceeded' dd if=/dev/zero of="$MNT/limited/f" bs=1M count=20 conv=fsync
	rm "$MNT/limited/f"
	zcfs_unmount
	zcfs_mount -o writeback
	fails_with 'Disk quota exceeded' dd if=/dev/zero of="$MNT/limited/f" bs=1M count=20 conv=fsync
	fails_with 'Disk quota exceeded' dd if=/dev/zero of="$MNT/limited/g" bs=1M count=20
	zcfs_unmount
	btrfs subvolume delete "$BACKING/limited" >/dev/null
	btrfs quota disable "$BACKING"
}
