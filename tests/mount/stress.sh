# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Many random operations at once. A failure shows its seed; churn makes the same operations again
# with it.
#
# filesystems: ext4 xfs btrfs
# users: root user
# timeout: 180

wait_for() { # PIDS
	local pid

	for pid in "$@"; do
		wait "$pid"
	done
}

churn_data() { # OPERATIONS: in four processes
	local i jobs=() seed=$RANDOM

	note "seed $seed"
	for i in 1 2 3 4; do
		mkdir "$MNT/data-$i"
		churn data "$MNT/data-$i" $((seed + i)) "$1" &
		jobs+=($!)
	done
	wait_for "${jobs[@]}"
	for i in 1 2 3 4; do
		diff -r "$MNT/data-$i" "$BACKING/data-$i"
	done
}

test_random_operations_on_data_agree_with_a_model() {
	zcfs_mount
	churn_data "$(big 300 2000)"
	native || same "$(travelled read plain) $(travelled write plain) $(travelled copy plain)" '0 0 0'
}

# filesystems: ext4
# users: root
test_random_operations_on_data_agree_with_a_model_with_writeback() {
	zcfs_mount -o writeback
	churn_data "$(big 300 2000)"
}

# filesystems: ext4
# users: root
test_random_operations_on_data_agree_with_a_model_without_the_page_cache() {
	zcfs_mount -o cache=never
	churn_data "$(big 300 2000)"
}

# filesystems: ext4
# users: root
test_random_operations_on_data_agree_with_a_model_with_few_small_buffers() {
	zcfs_mount -o threads=2,buffer_size=8K,copy_threads=1,copy_buffers=2,copy_buffer_size=8K
	churn_data "$(big 200 1000)"
}

# filesystems: ext4
# users: root
test_random_operations_on_data_agree_with_a_model_with_plain_io() {
	zcfs_mount -o io=plain,copy_max=64K
	churn_data "$(big 200 1000)"
}

churn_names() { # OPERATIONS: in four processes, all in one directory
	local i jobs=() seed=$RANDOM

	note "seed $seed"
	mkdir "$MNT/names"
	for i in 1 2 3 4; do
		churn names "$MNT/names" $((seed + i)) "$1" &
		jobs+=($!)
	done
	wait_for "${jobs[@]}"
	same "$(cd "$MNT/names" && find . | sort)" "$(cd "$BACKING/names" && find . | sort)"
	rm -r "$MNT/names"
	same "$(ls "$BACKING")" ''
}

test_random_operations_on_names_end_as_they_may() {
	zcfs_mount
	churn_names "$(big 1000 10000)"
}

# filesystems: ext4
test_random_operations_on_names_end_as_they_may_without_caches() {
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	churn_names "$(big 1000 5000)"
}

# filesystems: ext4
# native: no
test_random_operations_on_names_end_as_they_may_with_64_descriptors() {
	under=(prlimit --nofile=64)
	zcfs_mount
	churn_names "$(big 300 500)"
}

# filesystems: ext4
# native: no
test_it_can_be_ended_in_the_middle_of_it_all() {
	local signal i jobs

	for signal in TERM KILL; do
		jobs=()
		zcfs_mount
		mkdir "$MNT/names"
		for i in 1 2 3; do
			mkdir "$MNT/data-$i"
			churn data "$MNT/data-$i" "$i" 100000 2>/dev/null &
			jobs+=($!)
			churn names "$MNT/names" "$i" 1000000 2>/dev/null &
			jobs+=($!)
		done
		wait_until 60 has_requests 3000
		kill "-$signal" "$zcfs_pid"
		if [[ $signal == TERM ]]; then # and once more: do not wait for those who work on
			wait_until 60 grep -q 'still in use' "$WORK/zcfs.log"
			kill "-$signal" "$zcfs_pid"
		fi
		for i in "${jobs[@]}"; do
			wait_until 30 is_gone "$i" || fail 'a process hangs'
		done
		if [[ $signal == KILL ]]; then
			fusermount3 -u "$MNT"
			mounted=0
		else
			zcfs_ended 0
		fi
		rm -r "$BACKING/names" "$BACKING"/data-*
	done
}

has_requests() {
	(($(awk '/^zcfs_requests_total/ { n += $2 } END { print n }' "$MNT/.zcfs/stats") > $1))
}

# filesystems: ext4
# native: no
# users: root
test_changes_behind_the_mount_in_the_middle_of_it_all_are_survived() {
	local jobs=()

	mkdir "$BACKING/names"
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	churn names "$BACKING/names" 1 "$(big 3000 30000)" &
	jobs+=($!)
	# At the mount files vanish between two requests: errors that come of it are right.
	churn names "$MNT/names" 2 "$(big 1000 10000)" 2>/dev/null || true
	wait_for "${jobs[@]}"
	same "$(cd "$MNT/names" && find . | sort)" "$(cd "$BACKING/names" && find . | sort)"
}
