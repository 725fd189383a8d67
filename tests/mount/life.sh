# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# How a mount begins and ends, also by force and in the middle of work.
#
# users: root user
# native: no

# The pid of the zcfs that is in the background.
find_daemon() {
	local entry command

	for entry in /proc/[0-9]*; do
		command=$(tr '\0' ' ' 2>/dev/null <"$entry/cmdline") || continue
		[[ $command == *zcfs\ *"$MNT "* ]] && zcfs_pid=${entry#/proc/} && return 0
	done
	return 1
}

daemon_ends() {
	wait_until 60 is_gone "$zcfs_pid" || fail 'zcfs does not end'
	! is_mounted "$MNT" || fail 'the mount is left'
}

test_zcfs_goes_into_the_background_when_the_mount_is_ready() {
	echo text >"$BACKING/f"
	"${RUN_ZCFS[@]}" "$BACKING" "$MNT" >"$WORK/said" 2>&1
	is_mounted "$MNT" || fail 'not mounted when zcfs returns'
	same "$(<"$MNT/f")" text
	same "$(grep -vc ' on ' "$WORK/said" || true)" 0
	find_daemon
	same "$(readlink "/proc/$zcfs_pid/cwd")" /
	same "$(readlink "/proc/$zcfs_pid/fd/0" "/proc/$zcfs_pid/fd/1" "/proc/$zcfs_pid/fd/2" | sort -u)" \
		/dev/null
	fusermount3 -u "$MNT"
	daemon_ends
}

test_the_mount_table_names_backing_directory_and_type() {
	zcfs_mount
	same "$(awk -v mnt="$MNT" '$2 == mnt { print $1, $3 }' /proc/mounts)" "$BACKING fuse.zcfs"
	same "$(findmnt -no SOURCE,FSTYPE "$MNT")" "$BACKING fuse.zcfs"
}

test_signals_end_it_cleanly() {
	local signal

	for signal in INT TERM HUP; do
		"${RUN_ZCFS[@]}" "$BACKING" "$MNT"
		find_daemon
		echo "$signal" >"$MNT/f"
		kill "-$signal" "$zcfs_pid"
		daemon_ends
		same "$(<"$BACKING/f")" "$signal"
	done
}

test_the_exit_code_after_a_signal_is_0() {
	zcfs_mount
	kill -TERM "$zcfs_pid"
	zcfs_ended 0
}

# users: root
test_umount_works_too() {
	zcfs_mount
	umount "$MNT"
	zcfs_ended
}

test_unmounting_a_busy_mount_says_so() {
	zcfs_mount
	echo text >"$MNT/f"
	exec 5<"$MNT/f"
	fails_with 'busy' fusermount3 -u "$MNT"
	same "$(<"$MNT/f")" text
	exec 5<&-
	cd "$MNT"
	fails_with 'busy' fusermount3 -u "$MNT"
	cd "$WORK"
	zcfs_unmount
}

test_a_lazy_unmount_serves_open_files_to_the_end() {
	echo text >"$BACKING/f"
	zcfs_mount
	exec 5<"$MNT/f"
	exec 6>"$MNT/g"
	fusermount3 -u -z "$MNT"
	! is_mounted "$MNT" || fail 'still mounted'
	same "$(cat <&5)" text
	echo more >&6
	same "$(<"$BACKING/g")" more
	! is_gone "$zcfs_pid" || fail 'zcfs has left its last users'
	exec 5<&- 6>&-
	zcfs_ended
}

test_a_signal_cuts_open_files_off_and_ends_it() {
	zcfs_mount -o writeback
	exec 5>"$MNT/f"
	echo text >&5
	kill -TERM "$zcfs_pid"
	zcfs_ended 0
	same "$(<"$BACKING/f")" text
	fails_with 'write error' echo_to_5
	exec 5>&-
}

echo_to_5() {
	echo more >&5
}

start_slow_copy() {
	random_file "$BACKING/source" "$(big 200M 1G)"
	zcfs_mount -o copy=fixed,copy_buffers=1,copy_buffer_size=4K
	copy_range "$MNT/source" "$MNT/copy" >/dev/null 2>&1 &
	copier=$!
	wait_until 60 is_larger "$BACKING/copy" 1000000 || fail 'the copy does not begin'
}

is_larger() {
	local size

	size=$(stat -c %s "$1" 2>/dev/null) && ((size > $2))
}

# The copy has as much as it has, and that is right.
check_prefix() {
	local size

	size=$(stat -c %s "$BACKING/copy")
	at_most "$size" "$(stat -c %s "$BACKING/source")" 'bytes of the copy'
	cmp -n "$size" "$BACKING/source" "$BACKING/copy"
}

test_killing_it_in_the_middle_of_a_copy_hangs_nobody() {
	start_slow_copy
	kill -KILL "$zcfs_pid"
	wait_until 60 is_gone "$copier" || fail 'the copying process hangs'
	wait "$copier" && fail 'the copy was over before zcfs was killed'
	fails_with 'not connected' stat "$MNT/source"
	fails_with 'not connected' ls "$MNT"
	is_mounted "$MNT"
	fusermount3 -u "$MNT"
	! is_mounted "$MNT" || fail 'still mounted'
	mounted=0
	check_prefix
	# And it can be mounted again.
	zcfs_mount
	cmp "$MNT/source" "$BACKING/source"
}

# filesystems: ext4 xfs
# users: root
test_killing_it_in_the_middle_of_ten_copies_leaves_whole_prefixes() {
	local i copies=() size

	random_file "$BACKING/source" "$(big 100M 400M)"
	zcfs_mount --copy=fixed
	for ((i = 0; i < 10; i++)); do
		cp "$MNT/source" "$MNT/copy-$i" 2>/dev/null &
		copies+=($!)
	done
	wait_until 60 is_larger "$BACKING/copy-9" 0 || true
	kill -KILL "$zcfs_pid"
	for i in "${copies[@]}"; do
		wait_until 60 is_gone "$i" || fail 'a copying process hangs'
	done
	fusermount3 -u "$MNT"
	mounted=0
	for ((i = 0; i < 10; i++)); do
		size=$(stat -c %s "$BACKING/copy-$i" 2>/dev/null) || continue
		cmp -n "$size" "$BACKING/source" "$BACKING/copy-$i"
	done
}

# Over io_uring the kernel ends the connection a moment after the process.
has_no_daemon() {
	! stat "$MNT" >/dev/null 2>&1
}

test_a_dead_mount_is_explained() {
	zcfs_mount
	kill -KILL "$zcfs_pid"
	wait_until 60 is_gone "$zcfs_pid"
	wait_until 60 has_no_daemon
	mounted=0
	zcfs_refuses 4 'died.*fusermount3 -u' "$BACKING" "$MNT"
	zcfs_refuses 3 'died.*fusermount3 -u' "$MNT" "$WORK"
	fusermount3 -u "$MNT"
}

# fusermount3 3.14 cannot do it for an ordinary user: it looks at the dead mount as root, who may not.
# users: root
test_killing_it_with_auto_unmount_takes_the_mount_away() {
	zcfs_mount -o auto_unmount
	kill -KILL "$zcfs_pid"
	wait_until 60 is_unmounted || fail 'the mount is left'
	mounted=0
}

is_unmounted() {
	! is_mounted "$MNT"
}

test_a_signal_in_the_middle_of_a_copy_ends_both() {
	start_slow_copy
	kill -TERM "$zcfs_pid"
	zcfs_ended 0
	wait_until 60 is_gone "$copier" || fail 'the copying process hangs'
	check_prefix
}

# Writes numbered lines until it fails, and keeps count of those that were acknowledged.
write_lines() { # FILE COUNT_FILE
	local i=0

	exec 7>>"$1"
	while printf 'line %09d\n' "$i" >&7; do
		i=$((i + 1))
		echo "$i" >"$2"
	done 2>/dev/null
}

# That many, the right ones, and at most one that got no answer; where that lies on two pages, maybe
# the beginning of it only.
check_lines() { # FILE COUNT
	local lines

	lines=$(wc -l <"$1")
	note "$2 lines acknowledged, $lines found"
	at_least "$lines" "$2" lines
	cmp "$1" <(seq -f 'line %09.0f' 0 "$2" | head -c "$(stat -c %s "$1")")
}

has_lines() {
	[[ -s $1 ]] && (($(<"$1") >= 500))
}

test_a_signal_in_the_middle_of_writing_loses_nothing() {
	zcfs_mount
	write_lines "$MNT/f" "$WORK/count" &
	wait_until 60 has_lines "$WORK/count"
	kill -TERM "$zcfs_pid"
	zcfs_ended 0
	wait %2 || true
	check_lines "$BACKING/f" "$(<"$WORK/count")"
}

test_killing_it_in_the_middle_of_writing_loses_nothing_that_was_acknowledged() {
	zcfs_mount
	write_lines "$MNT/f" "$WORK/count" &
	wait_until 60 has_lines "$WORK/count"
	kill -KILL "$zcfs_pid"
	wait %2 || true
	wait "$zcfs_pid" || true # a write that got no answer may still be on its way until then
	fusermount3 -u "$MNT"
	mounted=0
	check_lines "$BACKING/f" "$(<"$WORK/count")"
}

# users: root
# needs: mount.fuse3
test_mount_t_fuse_zcfs_works_as_in_fstab() {
	mount -t tmpfs tmpfs /usr/local/sbin # where /bin/sh, which starts it, looks
	cp "$RUN/bin/zcfs" /usr/local/sbin/
	mount -t fuse.zcfs -o io=plain,nosuid,noauto,x-test "$BACKING" "$MNT"
	is_mounted "$MNT"
	grep -q 'io *plain' "$MNT/.zcfs/status"
	find_daemon
	umount "$MNT"
	daemon_ends
	umount -l /usr/local/sbin
}

# What mount(8) gives the helper, from fstab and of the mount, goes with it.
# users: root
# needs: mount.fuse3
test_a_mount_can_be_remounted() {
	zcfs_mount -o nosuid
	echo one >"$MNT/f"
	"${RUN_ZCFS[@]}" "$BACKING" "$MNT" -o rw,nosuid,cache=never,user_id=0,default_permissions,remount,ro
	fails_with 'Read-only file system' touch "$MNT/f"
	same "$(<"$MNT/f")" one
	findmnt -no OPTIONS "$MNT" | grep -q nosuid
	mount -t tmpfs tmpfs /usr/local/sbin # where /bin/sh, which starts it, looks
	cp "$RUN/bin/zcfs" /usr/local/sbin/
	mount -o remount,rw,noexec "$MNT"
	umount -l /usr/local/sbin
	echo two >"$MNT/f"
	same "$(<"$BACKING/f")" two
	findmnt -no OPTIONS "$MNT" | grep -q "nosuid.*noexec"
}

# users: root user
test_a_remount_that_cannot_be_is_told() {
	zcfs_refuses 1 'mount point is missing' -o remount,ro
	# The last word is zcfs; before it may be what runs it.
	RUN_ZCFS=("${RUN_ZCFS[@]::${#RUN_ZCFS[@]}-1}" env PATH=/nowhere "${RUN_ZCFS[-1]}")
	zcfs_refuses 1 'cannot be run: No such file' "$BACKING" "$MNT" -o remount
}

test_two_mounts_of_one_directory_agree() {
	local first

	mkdir "$WORK/other"
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	first=$zcfs_pid
	"${RUN_ZCFS[@]}" -o attr_timeout=0,entry_timeout=0 "$BACKING" "$WORK/other"
	echo one >"$MNT/f"
	same "$(<"$WORK/other/f")" one
	echo two >"$WORK/other/f"
	same "$(<"$MNT/f")" two
	fusermount3 -u "$WORK/other"
	zcfs_pid=$first
}

test_a_mount_can_be_mounted_again_elsewhere() {
	mkdir "$WORK/other"
	random_file "$BACKING/f" 3000000
	zcfs_mount
	"${RUN_ZCFS[@]}" "$MNT" "$WORK/other"
	cp "$WORK/other/f" "$WORK/other/g"
	cmp "$BACKING/f" "$BACKING/g"
	fails_with 'busy' fusermount3 -u "$MNT"
	fusermount3 -u "$WORK/other"
	wait_until 60 unmount_quietly
	zcfs_ended
}

unmount_quietly() {
	fusermount3 -u "$MNT" 2>/dev/null
}

# users: root
# slow: yes
test_mounting_and_unmounting_many_times_leaves_nothing() {
	local i

	for ((i = 0; i < 100; i++)); do
		zcfs_mount
		echo "$i" >"$MNT/f"
		zcfs_unmount
	done
}
