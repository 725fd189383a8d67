# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Mounts below the backing directory.
#
# filesystems: ext4 xfs btrfs

# The same directory at three places, one of them read-only.
bind_three() {
	mkdir "$BACKING/plain" "$BACKING/bound" "$BACKING/readonly"
	echo text >"$BACKING/plain/f"
	mount --bind "$BACKING/plain" "$BACKING/bound"
	mount --bind "$BACKING/plain" "$BACKING/readonly"
	mount -o remount,bind,ro "$BACKING/readonly"
}

unbind() {
	umount -l "$BACKING/bound" "$BACKING/readonly"
}

test_a_read_only_bind_mount_stays_read_only() {
	local way

	bind_three
	zcfs_mount
	for way in plain bound; do
		[[ -f $MNT/$way/f ]] # known by a way that may write
		fails_with 'Read-only' touch "$MNT/readonly/f"
		fails_with 'Read-only' touch "$MNT/readonly/new"
		fails_with 'Read-only' truncate -s 0 "$MNT/readonly/f"
		fails_with 'Read-only' chmod 600 "$MNT/readonly/f"
		fails_with 'Read-only' rm -f "$MNT/readonly/f"
		fails_with 'Read-only' mkdir "$MNT/readonly/d"
		echo "$way" >"$MNT/$way/f"
		same "$(<"$BACKING/readonly/f")" "$way"
	done
	unbind
}

# Whoever comes first, by whatever way: also when all inodes are reopened by handle.
test_a_file_known_by_a_read_only_mount_can_be_written_by_another() {
	bind_three
	zcfs_mount
	same "$(<"$MNT/readonly/f")" text
	echo more >>"$MNT/plain/f"
	chmod 600 "$MNT/bound/f"
	same "$(<"$BACKING/plain/f")" $'text\nmore'
	unbind
}

test_a_directory_mounted_twice_is_at_both_places() {
	bind_three
	zcfs_mount
	cd "$MNT/plain"
	same "$(ls "$MNT/bound" "$MNT/readonly")" "$MNT/bound:"$'\nf\n\n'"$MNT/readonly:"$'\nf'
	same "$(/bin/pwd -P)" "$MNT/plain"
	mkdir d
	cd d
	touch "$MNT/bound/d/g"
	same "$(/bin/pwd -P)" "$MNT/plain/d"
	cd "$WORK"
	unbind
}

# rename(2) and link(2) do not cross mounts, not even those of one filesystem.
test_names_do_not_move_between_mounts() {
	bind_three
	zcfs_mount
	fails_with 'cross-device' ln "$MNT/plain/f" "$MNT/bound/g"
	mv "$MNT/plain/f" "$MNT/bound/g"
	same "$(ls "$BACKING/plain")" g
	unbind
}

# No handle leads into a subvolume that was deleted.
# filesystems: btrfs
# users: root
# needs: btrfs
test_an_open_file_of_a_deleted_subvolume_stays_what_it_is() {
	btrfs subvolume create "$BACKING/sub" >/dev/null
	echo text >"$BACKING/sub/f"
	zcfs_mount -o attr_timeout=0.5
	exec 5<"$MNT/sub/f"
	btrfs subvolume delete "$BACKING/sub" >/dev/null
	sleep 0.6 # then the attributes are asked for, and nobody has done so before
	same "$(stat -L -c %s /proc/self/fd/5)" 5
	same "$(cat <&5)" text
	exec 5<&-
}
