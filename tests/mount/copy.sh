# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# copy_file_range inside the mount.
#
# filesystems: ext4 xfs btrfs
# users: root user

test_copies_behave_as_natively() {
	zcfs_mount
	check_copy "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_copies_behave_as_natively_with_one_small_buffer() {
	zcfs_mount -o copy_buffers=1,copy_buffer_size=4K,copy_max=64K,copy_threads=1
	check_copy "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_copies_behave_as_natively_with_plain_io() {
	zcfs_mount -o io=plain
	check_copy "$NATIVE" "$MNT"
	native || same "$(travelled copy fixed)" 0
}

# Where nothing can be cloned the kernel copies by itself, through the mount's page cache.
# filesystems: ext4 xfs btrfs
# users: root user
test_copies_behave_as_natively_when_they_must_be_clones() {
	zcfs_mount --copy=clone
	check_copy "$NATIVE" "$MNT"
	native && return
	same "$(travelled copy fixed)" 0
	case $FILESYSTEM in
	ext4) same "$(travelled copy clone)" 0 ;;
	*) at_least "$(travelled copy clone)" 1000000 'bytes cloned' ;;
	esac
}

# filesystems: ext4 xfs btrfs
test_copies_behave_as_natively_by_copy_file_range() {
	zcfs_mount --copy=kernel
	check_copy "$NATIVE" "$MNT"
	native && return
	same "$(travelled copy fixed)" 0
	at_least "$(travelled copy kernel)" 1000000 'bytes by copy_file_range'
}

# filesystems: ext4 xfs btrfs
# users: root user
test_copies_behave_as_natively_around_the_page_cache() {
	zcfs_mount --copy=direct
	check_copy "$NATIVE" "$MNT"
	native && return
	at_least "$(travelled copy direct)" 1000000 'bytes by O_DIRECT'
}

# filesystems: ext4
# users: root user
# native: no
# needs: fincore
test_a_large_file_that_is_not_cached_is_copied_around_the_page_cache() {
	local size=$(((100 << 20) + 777)) aligned=$((100 << 20))

	# What is large is the file. Most of it is a hole.
	truncate -s 1G "$BACKING/source"
	random_file "$WORK/data" "$size"
	dd if="$WORK/data" bs=1M status=none >>"$BACKING/source"
	cool "$BACKING/source"
	zcfs_mount
	copy_range "$MNT/source" "$MNT/copy"
	same "$(travelled copy direct)" "$aligned"
	same "$(travelled copy fixed)" 777
	# What the copy itself has left in the page cache, of both files.
	at_most "$(fincore -bno RES "$BACKING/source" "$BACKING/copy" | awk '{ n += $1 } END { print n }')" \
		$((size / 20)) 'bytes in the page cache'
	cmp "$BACKING/source" "$BACKING/copy"
}

# Where a direct write is a buffered one in disguise.
# filesystems: btrfs
# native: no
# needs: chattr
test_a_large_file_is_not_written_directly_where_that_is_in_vain() {
	truncate -s 1G "$BACKING/source"
	random_file "$WORK/data" 5M
	dd if="$WORK/data" bs=1M status=none >>"$BACKING/source"
	cool "$BACKING/source"
	zcfs_mount
	: >"$BACKING/copy"
	chattr +C "$BACKING/copy" # without checksums: no clone of what has some
	copy_range "$MNT/source" "$MNT/copy"
	cmp "$BACKING/source" "$BACKING/copy"
	same "$(travelled copy direct)" 0
	same "$(travelled copy fixed)" $((5 << 20))
}

# filesystems: ext4 xfs
# users: root
# native: no
test_a_copy_around_the_page_cache_leaves_nothing_stale() {
	local at

	random_file "$BACKING/source" 8M # all of it dirty
	random_file "$BACKING/copy" 9M # as is the destination
	cp --reflink=never "$BACKING/copy" "$WORK/expected"
	dd if="$BACKING/source" of="$WORK/expected" bs=64K iflag=skip_bytes,count_bytes \
		oflag=seek_bytes skip=5000 seek=50056 count=8000000 conv=notrunc status=none
	zcfs_mount --copy=direct
	cat "$MNT/copy" >"$WORK/cached"
	copy_range -i 5000 -o 50056 -n 8000000 "$MNT/source" "$MNT/copy"
	cmp "$WORK/expected" "$BACKING/copy"
	cmp "$WORK/expected" "$MNT/copy"
	at_least "$(travelled copy direct)" 7900000 'bytes by O_DIRECT'
	# Not equally aligned: no way around.
	at=$(travelled copy direct)
	copy_range -i 1 -o 0 -n 1000000 "$MNT/source" "$MNT/other"
	cmp -i 1:0 -n 1000000 "$BACKING/source" "$BACKING/other"
	same "$(travelled copy direct)" "$at"
}

# Copies a file that was last read long ago. Nothing but the copy reads it; with relatime too the time
# moves then, being before mtime.
copy_unread_file() { # PATH ZCFS_OPTION [OPTION_OF_COPY_RANGE]
	random_file "$BACKING/source" 4M
	cp --reflink=never "$BACKING/source" "$WORK/expected"
	touch -a -d @1000000000 "$BACKING/source"
	zcfs_mount "--copy=$1" -o "$2"
	copy_range "${@:3}" "$MNT/source" "$MNT/copy"
	same "$(travelled copy "$1")" $((4 << 20))
	zcfs_unmount
	cmp "$WORK/expected" "$BACKING/copy"
}

# With -d the file is open with O_DIRECT, and what is copied buffered goes by another descriptor.
# filesystems: ext4
# users: root user
# native: no
test_a_copy_leaves_the_access_time_as_it_is_with_noatime_alone() {
	copy_unread_file direct noatime
	same "$(stat -c %X "$BACKING/source")" 1000000000
	copy_unread_file direct atime
	at_least "$(stat -c %X "$BACKING/source")" 1000000001 'time of the access'
	copy_unread_file fixed noatime -d
	same "$(stat -c %X "$BACKING/source")" 1000000000
	copy_unread_file fixed atime -d
	at_least "$(stat -c %X "$BACKING/source")" 1000000001 'time of the access'
}

# filesystems: xfs btrfs
# users: root user
test_a_large_file_is_cloned_where_the_filesystem_can() {
	local size=$(((20 << 20) + 1234)) # the tail too

	random_file "$BACKING/source" "$size"
	cp --reflink=never "$BACKING/source" "$WORK/before"
	zcfs_mount
	cp "$MNT/source" "$MNT/copy"
	cmp "$BACKING/source" "$BACKING/copy"
	cmp "$MNT/source" "$MNT/copy"
	native && return
	same "$(travelled copy clone)" "$size"
	# Two files, not one.
	dd if=/dev/zero of="$MNT/copy" bs=64K count=10 seek=5 conv=notrunc status=none
	cmp "$WORK/before" "$BACKING/source"
}

# filesystems: xfs btrfs
# native: no
test_of_an_unaligned_range_the_whole_blocks_are_cloned() {
	random_file "$BACKING/source" 3M
	random_file "$BACKING/copy" 3M
	cp --reflink=never "$BACKING/copy" "$WORK/expected"
	dd if="$BACKING/source" of="$WORK/expected" bs=64K iflag=skip_bytes,count_bytes \
		oflag=seek_bytes skip=5000 seek=50056 count=2000000 conv=notrunc status=none
	zcfs_mount
	# 904 bytes into a block both, 3192 up to its end; 488 whole blocks; and 1960 bytes that end
	# inside one, with old data behind them.
	copy_range -i 5000 -o 50056 -n 2000000 "$MNT/source" "$MNT/copy"
	cmp "$WORK/expected" "$BACKING/copy"
	cmp "$WORK/expected" "$MNT/copy"
	same "$(travelled copy clone)" 1994752
	same "$(travelled copy fixed)" $((3192 + 2056))
}

# filesystems: ext4
test_copies_behave_as_natively_with_writeback() {
	zcfs_mount -o writeback
	# The kernel has times to be written that such a file does not take any more.
	check_copy "$NATIVE" "$MNT" -immutable_files_are_no_destination
}

# filesystems: ext4
# users: root
test_copies_behave_as_natively_without_the_page_cache() {
	zcfs_mount -o cache=never
	check_copy "$NATIVE" "$MNT"
}

# timeout: 120
test_cp_of_a_large_file_goes_through_registered_buffers() {
	local mib began

	mib=$(big 64 1024)
	random_file "$BACKING/source" "${mib}M"
	zcfs_mount --copy=fixed
	began=${EPOCHREALTIME/./}
	cp "$MNT/source" "$MNT/copy"
	note "cp of $mib MiB: $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
	cmp "$BACKING/source" "$BACKING/copy"
	cmp -n 10000000 "$MNT/source" "$MNT/copy"
	native && return
	at_least "$(travelled copy fixed)" $((mib << 20)) 'bytes copied by READ_FIXED and WRITE_FIXED'
	same "$(travelled copy plain)" 0
	at_least "$(counter zcfs_copy_requests_total)" 1 'requests'
	at_most "$(travelled_fixed write)" 1000000 'bytes written'
}

# filesystems: ext4
# native: no
test_cp_with_plain_io_uses_no_registered_buffer() {
	random_file "$BACKING/source" 5000000
	zcfs_mount --io=plain
	cp "$MNT/source" "$MNT/copy"
	cmp "$BACKING/source" "$BACKING/copy"
	same "$(travelled copy fixed)" 0
	at_least "$(travelled copy plain)" 5000000 'bytes copied by pread and pwrite'
}

test_cp_r_copies_a_tree() {
	cp -a /usr/include/linux "$BACKING/tree"
	: >"$BACKING/tree/empty"
	zcfs_mount
	cp -a "$MNT/tree" "$MNT/copy"
	same_trees "$MNT/tree" "$MNT/copy"
	diff -r "$BACKING/tree" "$BACKING/copy"
	native || same "$(travelled copy plain)" 0
}

# filesystems: ext4
# native: no
test_cp_reflink_always_fails() {
	echo text >"$BACKING/source"
	zcfs_mount
	fails_with 'failed to clone' cp --reflink=always "$MNT/source" "$MNT/copy"
}

# timeout: 120
test_a_sparse_file_of_1_TiB_is_copied_in_seconds_and_stays_sparse() {
	local at began

	# btrfs needs most of the time for the checksums of ranges that are not there.
	truncate -s 1T "$BACKING/source"
	for at in 0 4194304 5000000000 549755813888 1099510579200; do
		head -c 1M /dev/urandom |
			dd of="$BACKING/source" bs=64K seek="$at" oflag=seek_bytes conv=notrunc status=none
	done
	sync "$BACKING/source"
	zcfs_mount --copy=fixed
	began=$SECONDS
	# The native copy of ext4 reads every hole.
	if native; then cp "$MNT/source" "$MNT/copy"; else copy_range "$MNT/source" "$MNT/copy"; fi
	at_most $((SECONDS - began)) 60 'seconds' # without SEEK_HOLE it would be many minutes
	same "$(stat -c %s "$BACKING/copy")" $((1 << 40))
	sync "$BACKING/copy"
	# 5 MiB of data, and what the filesystem allocates ahead.
	at_most "$(bytes_used "$BACKING/copy")" 20000000 'bytes on disk'
	for at in 0 4194304 5000000000 549755813888 1099510579200; do
		cmp -i "$at" -n 1M "$BACKING/source" "$BACKING/copy"
	done
	native && return
	at_least "$(travelled copy hole)" $(((1 << 40) - 8000000)) 'bytes of holes'
	rm "$MNT/copy"
	cp "$MNT/source" "$MNT/copy"
	at_most "$(bytes_used "$BACKING/copy")" 20000000 'bytes on disk after cp'
}

test_offsets_beyond_4_GiB_are_copied_to_their_place() {
	local at

	truncate -s 6G "$BACKING/source"
	for at in 4294960000 5368709120; do
		random_file "$WORK/piece" 2M
		dd if="$WORK/piece" of="$BACKING/source" bs=64K seek="$at" oflag=seek_bytes \
			conv=notrunc status=none
	done
	zcfs_mount
	copy_range -i 4294960000 -o 4294967291 -n 1048576 "$MNT/source" "$MNT/copy"
	cmp -i 4294960000:4294967291 -n 1048576 "$BACKING/source" "$BACKING/copy"
	copy_range -i 5368709120 -o 1 -n 2097152 "$MNT/source" "$MNT/copy"
	cmp -i 5368709120:1 -n 2097152 "$BACKING/source" "$BACKING/copy"
	same "$(stat -c %s "$MNT/copy")" $((4294967291 + 1048576))
}

# filesystems: ext4 xfs
# users: root
# slow: yes
# timeout: 400
test_a_file_of_5_GiB_is_copied() {
	local began

	random_file "$BACKING/source" 5G
	zcfs_mount --copy=fixed
	began=${EPOCHREALTIME/./}
	cp "$MNT/source" "$MNT/copy"
	note "cp of 5 GiB: $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
	cmp "$BACKING/source" "$BACKING/copy"
	native && return
	at_least "$(travelled copy fixed)" $((5 << 30)) 'bytes copied by READ_FIXED and WRITE_FIXED'
	same "$(travelled copy plain)" 0
}

is_larger() {
	local size

	size=$(stat -c %s "$1" 2>/dev/null) && ((size > $2))
}

# Starts a copy that takes long: with one small buffer, so that it is slow on the fastest disk.
start_slow_copy() {
	random_file "$BACKING/source" "$(big 256M 1G)"
	zcfs_mount -o copy=fixed,copy_buffers=1,copy_buffer_size=4K
	copy_range "$MNT/source" "$MNT/copy" &
	copier=$!
	wait_until 60 is_larger "$BACKING/copy" 1000000 || fail 'the copy does not begin'
}

# The copy has as much as it has, and that is right.
check_prefix() {
	local size

	size=$(stat -c %s "$BACKING/copy")
	note "prefix of $size bytes"
	at_least "$size" 1000000 'bytes of the copy'
	at_most "$size" "$(stat -c %s "$BACKING/source")" 'bytes of the copy'
	cmp -n "$size" "$BACKING/source" "$BACKING/copy"
}

# filesystems: ext4 xfs
# native: no
test_a_copy_ends_soon_after_a_signal_with_a_whole_prefix() {
	local signal began

	for signal in TERM KILL; do
		start_slow_copy
		began=${EPOCHREALTIME/./}
		kill -"$signal" "$copier"
		wait_until 60 is_gone "$copier" || fail "SIG$signal does not end the copy"
		began=$(((${EPOCHREALTIME/./} - began) / 1000))
		note "SIG$signal: ended after $began ms"
		at_most "$began" 10000 'milliseconds to the end' # a slow machine; the whole copy takes longer
		wait "$copier" && fail 'the copy was over before the signal'
		check_prefix
		# It has ended on the side of zcfs too.
		same "$(grep -c done= "$MNT/.zcfs/copies" || true)" 0
		zcfs_unmount
		rm "$BACKING/source" "$BACKING/copy"
	done
}

# A signal makes a copy short, at most: copy_file_range(2) knows no EINTR, and the kernel sends an
# interrupt also when no handler is to run. Pieces of 64 KiB are copied by who got the request, what
# is not cut into pieces by a copier.
test_signals_do_not_make_a_copy_fail() {
	local piece

	random_file "$BACKING/source" 32M
	zcfs_mount -o copy=fixed,copy_buffer_size=64K
	for piece in 64K 32M; do
		rm -f "$MNT/copy"
		copy_range -s -p "$(numfmt --from=iec "$piece")" "$MNT/source" "$MNT/copy" >"$WORK/calls" ||
			fail "in pieces of $piece: $(<"$WORK/calls")"
		note "pieces of $piece: $(<"$WORK/calls")"
		cmp "$BACKING/source" "$BACKING/copy"
	done
}

is_in_flight() {
	grep -q '^pid=' "$MNT/.zcfs/copies"
}

# What is said of a copy of SOURCE to DESTINATION in the middle of it: the backing filesystem is
# frozen, so that it cannot end before.
show_copy() { # SOURCE DESTINATION
	local copier status=0

	: >"$2"
	freeze
	copy_range "$1" "$2" >/dev/null &
	copier=$!
	wait_until 30 is_in_flight || status=$?
	cat "$MNT/.zcfs/copies" || status=$?
	thaw
	wait "$copier" && return "$status"
}

# filesystems: ext4
# users: root
# native: no
# needs: fsfreeze
test_a_copy_in_flight_is_shown() {
	local shown line

	random_file "$BACKING/source" 1M
	zcfs_mount
	show_copy "$MNT/source" "$MNT/copy" >"$WORK/shown"
	shown=$(<"$WORK/shown")
	note "$shown"
	line='^pid=[0-9]+ path=fixed done=0 total=1048576 seconds=[0-9]+\.[0-9][0-9] src="source" dst="copy"'
	line+=$'\nwaiting=0$'
	[[ $shown =~ $line ]] || fail "copies: $shown"
	same "$(<"$MNT/.zcfs/copies")" waiting=0
}

is_waiting() {
	grep -q '^waiting=1' "$MNT/.zcfs/copies"
}

# One copier, which the frozen filesystem holds up, and another copy in the queue behind it.
start_two_copies() {
	: >"$MNT/copy"
	: >"$MNT/second"
	freeze
	copy_range "$MNT/source" "$MNT/copy" >"$WORK/first" &
	first=$!
	wait_until 60 is_in_flight || fail 'the first copy does not begin'
	copy_range "$MNT/source" "$MNT/second" >"$WORK/second" &
	second=$!
	wait_until 60 is_waiting || fail 'the second copy does not wait'
}

# filesystems: ext4
# users: root
# native: no
# needs: fsfreeze
test_a_copy_that_waits_for_a_thread_can_be_interrupted() {
	local first second

	random_file "$BACKING/source" 2M
	zcfs_mount --copy_threads=1 --copy=fixed
	start_two_copies
	kill -TERM "$second"
	wait_until 60 is_gone "$second" || fail 'the copy that waits does not end'
	thaw
	wait "$second" && fail 'it was not interrupted'
	wait "$first"
	cmp "$BACKING/source" "$BACKING/copy"
	same "$(stat -c %s "$BACKING/second")" 0
}

# Only who is killed is answered at once: others would see an EINTR that no handler explains.
# filesystems: ext4
# users: root
# native: no
# needs: fsfreeze
test_a_copy_that_waits_for_a_thread_can_be_stopped_and_goes_on() {
	local first second

	random_file "$BACKING/source" 2M
	zcfs_mount --copy_threads=1 --copy=fixed
	start_two_copies
	kill -STOP "$second"
	sleep 0.3
	kill -CONT "$second"
	sleep 0.3
	thaw
	wait "$first"
	wait "$second"
	cmp "$BACKING/source" "$BACKING/second"
}

# filesystems: ext4
# users: root
# native: no
# needs: fsfreeze
test_a_long_copy_makes_room_for_those_that_wait() {
	local first second

	random_file "$BACKING/source" 65M
	zcfs_mount --copy_threads=1 --copy=fixed
	start_two_copies
	thaw
	wait "$first"
	wait "$second"
	same "$(<"$WORK/first")" '68157440 bytes in 2 calls'
	cmp "$BACKING/source" "$BACKING/copy"
	cmp "$BACKING/source" "$BACKING/second"
}

# A line stays a line, whatever the file is called.
# filesystems: ext4
# users: root
# native: no
# needs: fsfreeze
test_names_of_a_copy_in_flight_are_escaped() {
	local name=$'q"b\\s\nn\001' shown

	mkdir "$BACKING/dir"
	random_file "$BACKING/dir/$name" 1M
	zcfs_mount
	show_copy "$MNT/dir/$name" "$MNT/copy" >"$WORK/shown"
	shown=$(grep ^pid= "$WORK/shown")
	[[ $shown == *' src="dir/q\"b\\s\nn\001" dst="copy"' ]] || fail "copies: $shown"
}

# filesystems: ext4
# native: no
# users: root
test_unlinking_both_files_in_the_middle_of_a_copy_is_harmless() {
	start_slow_copy
	rm "$MNT/source"
	rm "$MNT/copy" # waits: the kernel has the destination locked
	wait "$copier" || true
	same "$(ls "$BACKING")" ''
}

# filesystems: ext4
test_two_copies_into_one_file_end() {
	random_file "$BACKING/source" 20M
	zcfs_mount
	copy_range "$MNT/source" "$MNT/copy" &
	copy_range "$MNT/source" "$MNT/copy"
	wait $!
	cmp "$BACKING/source" "$BACKING/copy"
}

make_tree() { # DIRECTORY DIRECTORIES: with 100 files each
	local i

	for ((i = 0; i < $2; i++)); do
		mkdir -p "$1/$i"
		seq 100 | split -l 1 -a 2 - "$1/$i/file-"
	done
}

# timeout: 180
# filesystems: ext4 xfs
# users: root
test_ten_copies_at_once_leave_the_mount_responsive() {
	local i idle busy copies=() mib watcher

	mib=$(big 16 100)
	for i in 0 1 2 3 4 5 6 7 8 9; do
		random_file "$BACKING/source-$i" "${mib}M"
	done
	make_tree "$BACKING/tree" 20
	zcfs_mount -o copy=fixed,attr_timeout=0,entry_timeout=0 # so that everything reaches zcfs
	idle=$(latency "$MNT/tree" 1)
	latency "$MNT/tree" >"$WORK/busy" &
	watcher=$!
	for i in 0 1 2 3 4 5 6 7 8 9; do
		cp "$MNT/source-$i" "$MNT/copy-$i" &
		copies+=($!)
	done
	ls -lR "$MNT/tree" >/dev/null
	wait "${copies[@]}"
	kill "$watcher"
	wait "$watcher"
	busy=$(<"$WORK/busy")
	note "idle: $idle"
	note "ten copies of $mib MiB: $busy"
	for i in 0 1 2 3 4 5 6 7 8 9; do
		cmp "$BACKING/source-$i" "$BACKING/copy-$i"
	done
	# Two processors that are busy with copying, and a disk that may be: it is waiting behind a
	# copy that must not be, and that would take seconds.
	busy=${busy#*p99_us }
	at_most "${busy%% *}" 2000000 'microseconds of the 99th percentile'
	busy=${busy#*max_us }
	at_most "$busy" 30000000 'microseconds of the longest'
}

# More copies than copiers, each much longer than the others' patience.
# filesystems: ext4
# users: root
# native: no
test_more_copies_than_copiers_all_end() {
	local i copies=()

	random_file "$BACKING/source" 10M
	zcfs_mount --copy_threads=2
	for ((i = 0; i < 30; i++)); do
		copy_range "$MNT/source" "$MNT/copy-$i" >/dev/null &
		copies+=($!)
	done
	for i in "${copies[@]}"; do
		wait "$i"
	done
	for ((i = 0; i < 30; i++)); do
		cmp "$BACKING/source" "$BACKING/copy-$i"
	done
}

# filesystems: ext4 xfs
# users: root
test_copies_between_filesystems_inside_the_backing_directory_work() {
	mkdir "$BACKING/other"
	mount -t tmpfs tmpfs "$BACKING/other"
	random_file "$BACKING/source" 3000001
	random_file "$BACKING/other/source" 3000001
	zcfs_mount
	cp "$MNT/source" "$MNT/other/copy"
	cmp "$BACKING/source" "$BACKING/other/copy"
	cp "$MNT/other/source" "$MNT/copy"
	cmp "$BACKING/other/source" "$BACKING/copy"
	fails_with 'Invalid cross-device link' ln "$MNT/source" "$MNT/other/link"
	mv "$MNT/source" "$MNT/other/moved"
	[[ ! -e $BACKING/source ]]
	check_up
	umount "$BACKING/other"
}
