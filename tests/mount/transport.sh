# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The ways that requests take: which one is used, what is said when it cannot be, and that a request
# that is stuck holds up no other.
#
# filesystems: ext4
# users: root
# native: no

status() {
	cat "$MNT/.zcfs/status"
}

test_the_transport_that_was_asked_for_is_used() {
	zcfs_mount
	[[ $(status) =~ transport\ +$TRANSPORT, ]] || fail "$(status)"
	[[ $(status) == *$'downgrades\n  none'* ]] || fail "$(status)"
}

test_auto_takes_io_uring_where_the_kernel_has_it() {
	TRANSPORT_OPTION=()
	zcfs_mount
	if [[ $(</sys/module/fuse/parameters/enable_uring) == Y ]]; then
		[[ $(status) =~ transport\ +uring, ]] || fail "$(status)"
	else
		[[ $(status) =~ transport\ +dev, ]] || fail "$(status)"
		[[ $(status) == *'echo 1 > /sys/module/fuse/parameters/enable_uring'* ]] || fail "$(status)"
	fi
}

test_io_plain_does_without_io_uring() {
	zcfs_mount --io=plain
	[[ $(status) =~ transport\ +dev, ]] || fail "$(status)"
	if [[ $TRANSPORT == uring ]]; then
		[[ $(status) == *'FUSE over io_uring'*'io=plain'* ]] || fail "$(status)"
	fi
}

requests() {
	awk '/^zcfs_requests_total/ { n += $2 } END { print n }' "$MNT/.zcfs/stats"
}

# Each request over a queue takes one io_uring_enter(2); over /dev/fuse, none.
test_a_request_without_data_enters_the_ring_once_at_most() {
	local before requests_before i

	zcfs_mount -o attr_timeout=0
	: >"$MNT/f"
	before=$(counter zcfs_ring_enters_total)
	requests_before=$(requests)
	for ((i = 0; i < 300; i++)); do
		[[ -f $MNT/f ]]
	done
	before=$(($(counter zcfs_ring_enters_total) - before))
	at_least $(($(requests) - requests_before)) 300 requests
	at_most "$before" $((($(requests) - requests_before) * 5 / 4 + 20)) enters
}

# As long as others wait in the queue: the reply goes with the read, the next request comes with the
# reply. Over /dev/fuse there is the read alone.
# filesystems: ext4
# users: root
# native: no
# needs: taskset
test_a_read_and_its_reply_enter_the_ring_once() {
	local before reads i readers=()

	random_file "$BACKING/f" 8000000
	zcfs_mount --cache=never --threads=1
	before=$(counter zcfs_ring_enters_total)
	reads=$(counter 'zcfs_requests_total{op="read"}')
	for ((i = 0; i < 8; i++)); do
		taskset -c 0 dd if="$MNT/f" of=/dev/null bs=4096 count=1900 status=none &
		readers+=("$!")
	done
	wait "${readers[@]}"
	before=$(($(counter zcfs_ring_enters_total) - before))
	reads=$(($(counter 'zcfs_requests_total{op="read"}') - reads))
	note "$before enters, $reads reads"
	at_least "$reads" 15000 reads
	at_most "$before" $((reads * 8 / 5)) enters
}

# Threads of zcfs that may run on one CPU only.
bound_threads() {
	cat "/proc/$zcfs_pid/task"/*/status | grep -cE '^Cpus_allowed_list:[[:space:]]*[0-9]+$' || true
}

# Requests of several at once, on each processor, without data.
all_are_home() {
	local cpu

	for ((cpu = 0; cpu < $(nproc); cpu++)); do
		printf "$MNT/none%s\\n" {1..400} | taskset -c "$cpu" xargs -P 4 -n 100 stat &>/dev/null || true
	done
	(($(bound_threads) >= bound))
}

# Who reads a stream has a CPU to himself, and others find the workers at home again.
# needs: taskset
test_workers_are_let_go_for_readahead_and_come_home() {
	local bound

	(($(nproc) > 1)) || skip 'one processor'
	random_file "$BACKING/f" $((64 << 20))
	zcfs_mount
	bound=$(bound_threads)
	if [[ $TRANSPORT != uring ]]; then
		same "$bound" 0
		return
	fi
	at_least "$bound" "$(nproc)" 'workers at home'
	cmp "$BACKING/f" "$MNT/f"
	at_most "$(bound_threads)" $((bound - 1)) 'workers at home'
	wait_until 30 all_are_home
}

# Threads of zcfs, without the kernel's own that write for it, that may run on several CPUs.
free_threads() {
	awk 'FNR == 1 { ours = $2 == "zcfs" }
		ours && $1 == "Cpus_allowed_list:" && $2 ~ /[-,]/ { n++ }
		END { print n + 0 }' "/proc/$zcfs_pid/task"/*/status
}

# A thread begins with the CPUs of who starts it, and a worker of a queue has one.
# needs: flock
test_copiers_and_waiters_may_use_every_cpu() {
	local before waiter

	(($(nproc) > 1)) || skip 'one processor'
	random_file "$BACKING/f" 4M
	zcfs_mount --copy=fixed -o locks=forward
	: >"$MNT/copy"
	before=$(free_threads)
	copy_range "$MNT/f" "$MNT/copy"
	at_least "$(free_threads)" $((before + 1)) 'threads on any CPU, one of them a copier'
	before=$(free_threads)
	exec 8<"$BACKING/f"
	flock --exclusive 8
	flock --shared "$MNT/f" true &
	waiter=$!
	wait_until 30 waits_for_a_lock || fail 'nobody waits'
	wait_until 30 has_free_threads $((before + 1)) || fail 'who waits for a lock has one CPU'
	flock --unlock 8
	wait "$waiter"
}

has_free_threads() { # COUNT
	(($(free_threads) >= $1))
}

# Everybody on one CPU, so that over io_uring it is one queue.
on_first_cpu() {
	taskset -c 0 "$@"
}

is_written() {
	[[ -s $1 ]]
}

# needs: fsfreeze taskset
test_a_frozen_filesystem_does_not_hold_up_those_who_read() {
	local jobs=() job stuck='1 2 3'

	# The workers of /dev/fuse are as many as the option says; a queue gets more.
	[[ $TRANSPORT == dev ]] || stuck+=' 4 5 6 7 8'
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	mkdir "$MNT/d"
	echo text >"$MNT/f"
	for job in $stuck; do
		mkdir "$MNT/d/$job"
	done
	sync -f "$BACKING"
	freeze
	for job in $stuck; do
		# Each in a directory of its own, or they would wait for its lock and not for us.
		on_first_cpu touch "$MNT/d/$job/new" &
		jobs+=($!)
	done
	on_first_cpu stat "$MNT/f" >"$WORK/answer" &
	wait_until 30 is_written "$WORK/answer" || fail 'stat waits for the frozen filesystem'
	same "$(on_first_cpu cat "$MNT/f")" text
	[[ -z $(ls -A "$BACKING/d/1") ]] || fail 'it was not frozen'
	thaw
	for job in "${jobs[@]}"; do
		wait "$job"
	done
	for job in $stuck; do
		[[ -e $BACKING/d/$job/new ]]
	done
}

# Over io_uring a copy that waits keeps the entry that its request came in.
# needs: fsfreeze taskset
test_copies_that_wait_do_not_hold_up_others() {
	local jobs=() job

	for job in 1 2 3 4 5 6; do
		random_file "$BACKING/source-$job" 2M
	done
	echo text >"$BACKING/f"
	zcfs_mount --copy_threads=1 --copy=fixed -o attr_timeout=0,entry_timeout=0
	for job in 1 2 3 4 5 6; do
		: >"$MNT/copy-$job"
	done
	sync -f "$BACKING"
	freeze
	for job in 1 2 3 4 5 6; do
		on_first_cpu copy_range "$MNT/source-$job" "$MNT/copy-$job" &
		jobs+=($!)
	done
	on_first_cpu stat "$MNT/f" >"$WORK/answer" &
	wait_until 60 is_written "$WORK/answer" || fail 'stat waits for the copies'
	same "$(on_first_cpu cat "$MNT/f")" text
	thaw
	for job in "${jobs[@]}"; do
		wait "$job"
	done
	for job in 1 2 3 4 5 6; do
		cmp "$BACKING/source-$job" "$BACKING/copy-$job"
	done
	[[ $TRANSPORT == dev ]] ||
		at_least "$(counter 'zcfs_requests_total{op="notify_reply"}')" 1 'fetches by new workers'
}

# The same, when zcfs has no descriptor of any inode: the files were only looked up and opened.
# needs: fsfreeze taskset
test_a_request_behind_waiting_copies_is_fetched() {
	local jobs=() job

	for job in 1 2 3; do
		random_file "$BACKING/source-$job" 2M
		: >"$BACKING/copy-$job"
	done
	zcfs_mount --copy_threads=1 --copy=fixed
	sync -f "$BACKING"
	freeze
	for job in 1 2 3; do
		on_first_cpu copy_range "$MNT/source-$job" "$MNT/copy-$job" &
		jobs+=($!)
	done
	wait_until 60 on_first_cpu grep -qx waiting=2 "$MNT/.zcfs/copies" || fail 'they do not come'
	thaw
	for job in "${jobs[@]}"; do
		wait "$job"
	done
}

# needs: taskset
test_a_fifo_that_nobody_writes_does_not_hold_up_others() {
	local reader

	zcfs_mount
	mkfifo "$MNT/fifo"
	echo text >"$MNT/f"
	on_first_cpu cat "$MNT/fifo" >"$WORK/read" &
	reader=$!
	same "$(on_first_cpu cat "$MNT/f")" text
	echo through >"$MNT/fifo"
	wait "$reader"
	same "$(<"$WORK/read")" through
}

# A copy on a copier, a wait for a lock: answered by another thread than the one that received it.
# needs: flock
test_an_abort_ends_what_other_threads_hold() {
	local waiter

	zcfs_mount -o locks=forward
	: >"$MNT/f"
	exec 8<"$BACKING/f"
	flock --exclusive 8
	flock --shared "$MNT/f" true &
	waiter=$!
	wait_until 30 waits_for_a_lock || fail 'nobody waits'
	echo 1 >"/sys/fs/fuse/connections/$(mountpoint -d "$MNT" | sed 's/.*://')/abort"
	wait "$waiter" && fail 'the lock was granted'
	wait_until 30 is_gone "$zcfs_pid" || fail 'zcfs does not end'
	umount "$MNT"
	zcfs_ended 0
}

waits_for_a_lock() {
	(($(counter 'zcfs_requests_total{op="setlkw"}') > 0))
}
