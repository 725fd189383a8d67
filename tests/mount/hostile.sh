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

# Nothing of the canary's text or owner is in the backing directory either: it was not carried in.
# closed lies on the backing directory's filesystem, so that directories can be moved there.
# timeout: 120
# native: no
test_no_operation_is_led_out_by_moved_directories() {
	local closed="$BACKING/../closed" before

	mkdir -p "$closed/outside" "$BACKING/arena/private"
	echo canary | tee "$closed/outside/canary" "$BACKING/arena/private/canary" >/dev/null
	echo mine >"$closed/outside/file"
	chown -R 62002:62002 "$closed/outside" "$BACKING/arena/private"
	chmod -R 777 "$closed/outside"
	chmod 666 "$BACKING/arena/private/canary"
	chmod 700 "$closed" "$BACKING/arena/private"
	before=$(outside_of "$closed")
	zcfs_mount -o allow_other,attr_timeout=0,entry_timeout=0
	hostile roam "$BACKING/arena" "$MNT/arena" "$closed/outside" "$(big 500 5000)"
	same "$(outside_of "$closed")" "$before"
	same "$(find "$BACKING" -user 62002 -printf '%y %m\n' | sort)" $'d 700\nf 666'
	same "$(grep -rl canary "$BACKING" | wc -l)" 1
}

# Without the times of the directory that others are moved to and from.
outside_of() {
	describe_tree "$1" | sed "s|^\./outside \(.*\) [0-9.]*$|outside \1|"
}

# What is looked up is asked for its attributes and its handle one after the other: both must be of
# one file, or the one's mode would open the other.
# filesystems: ext4 xfs btrfs
# timeout: 120
# native: no
test_attributes_of_one_file_open_no_other() {
	mkdir "$BACKING/arena"
	zcfs_mount -o allow_other,attr_timeout=60,entry_timeout=0
	hostile exchange "$BACKING/arena" "$MNT/arena" "$(big 20000 100000)"
}

# filesystems: ext4 xfs btrfs
# users: root user
test_what_no_filesystem_lets_pass_is_refused_in_the_same_way() {
	zcfs_mount
	check_hostile "$NATIVE" "$MNT"
}

# filesystems: ext4 xfs btrfs
# native: no
test_rubbish_by_ioctl_does_no_harm() {
	mkdir "$BACKING/root" "$BACKING/user"
	echo text | tee "$BACKING/root/"r{o,w} "$BACKING/user/"r{o,w} >/dev/null
	chmod 777 "$BACKING/user"
	chmod 666 "$BACKING/user/"*
	zcfs_mount -o allow_other
	hostile ioctls "$MNT/root" 1 "$(big 20000 200000)"
	as_user hostile ioctls "$MNT/user" 2 "$(big 20000 200000)"
	# The filesystem is neither frozen nor shut down, the files neither other ones nor locked up.
	same "$(cat "$BACKING/root/"r{o,w} "$BACKING/user/"r{o,w} | sort -u)" text
	same "$(stat -c '%U %a' "$BACKING/user/"* | sort -u)" 'root 666'
	same "$(lsattr -d "$BACKING/user" "$BACKING/user/"* | grep -c '^[^ ]*[ia]')" 0
	# shellcheck disable=SC2016
	timeout 30 bash -c 'echo more >"$0/new" && sync -f "$0/new" && rm -r "$0/new" "$0/root" "$0/user"' \
		"$BACKING"
	status_says '^transport'
}

# native: no
test_file_handles_lead_nowhere() {
	mkdir "$BACKING/../outside"
	echo canary >"$BACKING/../outside/canary"
	echo text | tee "$BACKING"/{1..50} >/dev/null
	zcfs_mount -o allow_other
	cat "$MNT"/{1..50} >/dev/null
	hostile handles "$MNT" "$BACKING/../outside/canary" >"$WORK/handles"
	# Since Linux 6.9 it gives none, so that nobody exports it by NFS and wonders about ESTALE.
	if grep -Eq '^ *no_export_support +taken' "$MNT/.zcfs/status"; then
		same "$(<"$WORK/handles")" ''
	fi
	same "$(cat "$BACKING/../outside/canary" "$MNT/1")" $'canary\ntext'
	fails_with 'not permitted' as_user hostile handles "$MNT" "$BACKING/1"
}

# native: no
# timeout: 180
test_descriptors_and_inodes_come_back_after_many_opens() {
	local inodes fds

	[[ -w /proc/sys/vm/drop_caches ]] || skip 'no /proc/sys/vm/drop_caches'
	zcfs_mount -o threads=2
	echo text >"$MNT/file"
	hostile opens "$MNT" 4000
	settle
	inodes=$(counter zcfs_inodes)
	fds=$(open_descriptors)
	at_most "$inodes" 3 'inodes'
	mkdir "$BACKING"/{1..1000}
	ls -l "$MNT" >/dev/null
	hostile opens "$MNT" "$(big 100000 1000000)"
	wait_until 60 are_back "$inodes" "$fds" ||
		fail "$(counter zcfs_inodes) inodes of $inodes, $(open_descriptors) descriptors of $fds"
	same "$(counter zcfs_open_files)" 0
}

# Of backing files and directories. Others come with a worker, and the number of those is the
# transport's business.
open_descriptors() {
	find "/proc/$zcfs_pid/fd" -mindepth 1 -lname "$BACKING*" | wc -l
}

# The kernel forgets what it does not use only when it is told to; RELEASE and FORGET come when they
# like.
settle() {
	local i

	for ((i = 0; i < 50; i++)); do
		echo 2 >/proc/sys/vm/drop_caches
		nap
	done
}

are_back() { # INODES DESCRIPTORS
	echo 2 >/proc/sys/vm/drop_caches
	(($(counter zcfs_inodes) <= $1 && $(open_descriptors) <= $2))
}
