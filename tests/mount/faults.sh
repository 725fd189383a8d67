# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# System calls that fail inside zcfs: it answers with an error or does without, and goes on.
# fault_preload.c makes them fail.
#
# native: no
# timeout: 120

# fault CALL FIRST COUNT ERRNO: from now on; without arguments none.
fault() {
	printf '%-63s\n' "$*" | dd of="$WORK/fault" conv=notrunc status=none
}

faults_made() {
	grep -c '^fault: ' "$WORK/zcfs.log" || true
}

prepare() {
	fault "$@"
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
}

EIO=5 EAGAIN=11 ENOMEM=12 EMFILE=24 ENOSPC=28

test_a_failing_read_reaches_the_caller() {
	local error

	random_file "$BACKING/f" 100000
	prepare
	for error in $EIO:'Input/output error' $ENOMEM:'Cannot allocate memory'; do
		zcfs_mount --io=plain
		fault pread 1 1000 "${error%%:*}"
		fails_with "${error#*:}" cat "$MNT/f" # cat copies by read(2): to a pipe
		fails_with "${error#*:}" dd if="$MNT/f" iflag=direct bs=4K of=/dev/null
		fault
		cmp "$MNT/f" "$BACKING/f"
		zcfs_unmount
	done
	at_least "$(faults_made)" 2 'faults'
}

test_a_failing_write_reaches_the_caller() {
	prepare
	zcfs_mount --io=plain
	fault pwrite 1 1000 $EIO
	fails_with 'Input/output error' dd if=/dev/zero of="$MNT/f" bs=1M count=1
	fault pwrite 1 1000 $ENOSPC
	fails_with 'No space left' dd if=/dev/zero of="$MNT/f" bs=1M count=1
	at_least "$(faults_made)" 2 'faults'
	fault
	echo text >"$MNT/f"
	same "$(<"$BACKING/f")" text
}

test_an_interrupted_or_busy_call_is_tried_again() {
	local call error

	random_file "$BACKING/f" 1000000
	prepare
	zcfs_mount --io=plain --copy_buffer_size=64K # of several pieces
	for call in pread pwrite; do
		for error in 4 $EAGAIN; do
			fault "$call" 2 3 "$error"
			copy_range "$MNT/f" "$MNT/copy"
			cmp "$BACKING/f" "$BACKING/copy"
			dd if="$MNT/f" of="$MNT/written" bs=100K status=none
			cmp "$BACKING/f" "$BACKING/written"
			rm "$MNT/copy" "$MNT/written"
		done
	done
	at_least "$(faults_made)" 12 'faults'
}

# Who waits for its answers is told that the mount has ended.
test_a_queue_that_breaks_is_the_end_of_the_mount() {
	prepare
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	: >"$MNT/f"
	if [[ $TRANSPORT != uring ]]; then
		zcfs_unmount
		return
	fi
	fault uring_commit 1 1 22
	stat "$MNT/f" &>"$WORK/told" && fail 'it was answered'
	grep -Eq 'abort|not connected' "$WORK/told"
	zcfs_ended 7
	grep -q 'queue [0-9]* of io_uring: Invalid argument' "$WORK/zcfs.log"
}

test_a_copy_that_fails_in_the_middle_has_copied_a_whole_prefix() {
	local mode call first size

	random_file "$BACKING/f" 20000000
	prepare
	for mode in fixed direct; do
		for first in 'pread 1' 'pread 2' 'pread 30' 'pwrite 1' 'pwrite 7' 'pwrite 30'; do
			call=${first% *}
			first=${first#* }
			zcfs_mount -o "io=plain,copy=$mode,copy_buffer_size=64K"
			fault "$call" "$first" 100000 $EIO
			fails_with 'Input/output error' copy_range "$MNT/f" "$MNT/copy"
			fault
			size=$(stat -c %s "$BACKING/copy")
			at_most "$size" $((first * 65536)) 'bytes copied'
			cmp -n "$size" "$BACKING/f" "$BACKING/copy"
			# A single error is got over by asking again for the rest.
			fault "$call" "$first" 1 $EIO
			copy_range -i "$size" -o "$size" "$MNT/f" "$MNT/copy" ||
				copy_range "$MNT/f" "$MNT/copy"
			cmp "$BACKING/f" "$BACKING/copy"
			zcfs_unmount
			rm "$BACKING/copy"
		done
	done
}

# A little of everything. Any of it may fail; nothing may hang.
try_everything() {
	set +eE
	trap - ERR
	mkdir "$MNT/d"
	echo text >"$MNT/d/f"
	cat "$MNT/d/f"
	cp "$MNT/d/f" "$MNT/d/g"
	ln "$MNT/d/f" "$MNT/d/h"
	ln -s f "$MNT/d/l"
	mv "$MNT/d/g" "$MNT/d/m"
	ls -lR "$MNT"
	truncate -s 100 "$MNT/d/f"
	chmod 600 "$MNT/d/f"
	touch -d 2001-01-01 "$MNT/d/f"
	sync "$MNT/d/f"
	stat -f "$MNT"
	dd if=/dev/zero of="$MNT/d/z" bs=1M count=3 conv=fsync
	fallocate -l 10000 "$MNT/d/z"
	copy_range "$MNT/d/z" "$MNT/d/zz"
	df "$MNT"
	cat "$MNT/.zcfs/"*
	rm -r "$MNT/d"
	fault
	rm -rf "$BACKING/d"
	stat "$MNT/d" # so that the kernel notices
} >/dev/null 2>&1

only_root_is_left() {
	(($(counter zcfs_open_files) <= 1 && $(counter zcfs_inodes) <= 3))
}

# users: root user
# timeout: 300
test_any_failing_call_is_an_error_and_not_the_end() {
	local call first error

	prepare
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	for call in openat statx open_by_handle_at name_to_handle_at getdents64 mkdirat unlinkat fsync \
		ftruncate lseek mmap pthread_create; do
		for first in $(big '1 3' '1 2 3 5 8 13 21'); do
			for error in $EIO $(big '' "$ENOMEM $EMFILE"); do
				fault "$call" "$first" 1 "$error"
				(try_everything) || true
				! is_gone "$zcfs_pid" || fail "$call number $first, errno $error: zcfs has ended"
				wait_until 60 only_root_is_left ||
					fail "$call number $first, errno $error: $(counter zcfs_inodes) inodes," \
						"$(counter zcfs_open_files) open files are left"
			done
		done
		fault "$call" 1 1000000 $EIO
		(try_everything) || true
	done
	note "$(faults_made) calls failed"
	at_least "$(faults_made)" 50 'faults'
	echo text >"$MNT/f"
	same "$(<"$BACKING/f")" text
}

# Either it says why it cannot start, at once or when it has mounted already, and leaves nothing
# behind; or it works.
start_or_refuse() { # CALL FIRST COUNT ERRNO
	local try status=0 what="$*"

	fault "$@"
	zcfs_start
	wait_until 60 is_mounted_or_gone || fail "$what: zcfs hangs"
	for try in with without; do # the fault
		status=0
		timeout 10 copy_range "$MNT/f" "$MNT/g" >/dev/null 2>&1 || status=$?
		((status < 124)) || fail "$what: zcfs does not answer"
		fault
	done
	fusermount3 -u "$MNT" 2>/dev/null || true
	wait_until 60 is_gone "$zcfs_pid" || fail "$what: zcfs does not end"
	status=0
	wait "$zcfs_pid" || status=$?
	mounted=0
	! is_mounted "$MNT" || fail "$what: a mount is left"
	case $status in
	0) cmp "$BACKING/f" "$BACKING/g" ;;
	3 | 4) grep -q '^zcfs: .*: ' "$WORK/zcfs.log" || fail "$what: zcfs says nothing" ;;
	*) fail "$what: zcfs ended with $status" ;;
	esac
	rm -f "$BACKING/g" "$WORK/zcfs.log"
}

# users: root user
# timeout: 300
test_a_failing_call_at_the_start_is_an_error_or_a_downgrade() {
	local call first

	random_file "$BACKING/f" 100000
	prepare
	for call in openat statx name_to_handle_at open_by_handle_at mmap pthread_create \
		io_uring_queue_init_params io_uring_register_buffers io_uring_register_personality; do
		for first in $(big '1 2' '1 2 3 4 5 6 8 10 15'); do
			start_or_refuse "$call" "$first" 1 $ENOMEM
		done
		start_or_refuse "$call" 1 1000000 $ENOMEM
	done
}

test_without_registered_buffers_it_works_and_says_so() {
	random_file "$BACKING/f" 1000000
	prepare io_uring_register_buffers 1 1000000 $ENOMEM
	zcfs_mount
	cp "$MNT/f" "$MNT/g"
	cmp "$BACKING/f" "$BACKING/g"
	status_says 'without registered buffers: Cannot allocate memory'
	same "$(travelled copy fixed)" 0
	same "$(travelled copy plain)" 1000000
}

# The kernel takes a READ and has no memory for the reply that is linked to it.
# native: no
test_a_reply_that_was_cut_off_from_its_read_is_sent_again() {
	local first

	[[ $TRANSPORT == uring ]] || return 0
	random_file "$BACKING/f" 1000000
	prepare uring_cut 1 1000000 12
	zcfs_mount --cache=never
	for first in 0 100 200; do
		fault uring_cut 1 1000000 12
		timeout 20 dd if="$MNT/f" of="$WORK/f" bs=3000 skip="$first" status=none
		cmp <(tail -c "+$((first * 3000 + 1))" "$BACKING/f") "$WORK/f"
	done
	at_least "$(faults_made)" 400 'replies cut off'
}

test_file_handles_are_done_without_where_there_are_none() {
	prepare name_to_handle_at 1 1000000 95 # EOPNOTSUPP
	zcfs_mount
	cp -r /usr/include/linux/netfilter "$MNT/tree"
	diff -r "$MNT/tree" /usr/include/linux/netfilter
	rm -r "$MNT/tree"
}

test_a_ring_that_is_busy_for_a_moment_is_asked_again() {
	local call error

	random_file "$BACKING/f" 1000000
	prepare
	zcfs_mount -o cache=never
	for call in io_uring_submit_and_wait io_uring_submit_and_get_events; do
		for error in 4 11 16; do
			fault "$call" 1 2 "$error"
			timeout 20 cmp "$MNT/f" "$BACKING/f"
			timeout 20 copy_range "$MNT/f" "$MNT/g"
			cmp "$BACKING/f" "$BACKING/g"
			rm "$MNT/g"
		done
	done
	at_least "$(faults_made)" 6 'faults'
}

# All registrations, then one of several: /dev/fuse serves, or the queue that has another entry.
test_queues_of_io_uring_that_do_not_come_up_are_done_without() {
	local times

	[[ $TRANSPORT == uring ]] || return 0
	for times in 1000 1; do
		prepare io_uring_submit_and_get_events 1 "$times" $EIO
		zcfs_mount # /dev/fuse serves while they register
		wait_until 30 grep -q 'its queues did not come up\|entries are not there' "$WORK/zcfs.log" ||
			fail "$(<"$MNT/.zcfs/status")"
		((times == 1)) || status_says 'FUSE over io_uring: its queues did not come up'
		fault
		echo text >"$MNT/f"
		same "$(<"$BACKING/f")" text
		cp "$MNT/f" "$MNT/g"
		cmp "$MNT/g" "$BACKING/f"
		zcfs_unmount
	done
	at_least "$(faults_made)" 2 'faults'
}

test_a_thread_that_cannot_start_leaves_dev_fuse() {
	[[ $TRANSPORT == uring ]] || return 0
	prepare pthread_create 3 1 $EAGAIN # the first, with a sanitizer two, are others
	zcfs_mount
	fault
	grep -qE '^transport +dev' "$MNT/.zcfs/status"
	grep -q 'FUSE over io_uring: its workers could not start' "$MNT/.zcfs/status"
	echo text >"$MNT/f"
	same "$(<"$BACKING/f")" text
}
