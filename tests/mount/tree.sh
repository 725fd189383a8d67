# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Large trees: made, walked and removed with descriptors and memory bounded.
#
# users: root user

make_tree() { # DIRECTORIES: with 1000 files each
	local i

	for ((i = 0; i < $1; i++)); do
		mkdir "$MNT/tree/$i"
		seq 1000 | split -l 1 -a 3 -d - "$MNT/tree/$i/file-"
	done
}

descriptors() {
	find "/proc/$zcfs_pid/fd" -mindepth 1 | wc -l
}

memory_kib() {
	awk '/^VmRSS:/ { print $2 }' "/proc/$zcfs_pid/status"
}

# Sanitizers remember more than zcfs does.
check_bounds() { # WHAT MOST_DESCRIPTORS MOST_KIB
	note "$1: $(descriptors) descriptors, $(memory_kib) KiB, $(counter zcfs_inodes) inodes"
	at_most "$(descriptors)" "$2" "descriptors after $1"
	[[ $SANITIZER != none ]] || at_most "$(memory_kib)" "$3" "KiB after $1"
}

has_few_inodes() {
	(($(counter zcfs_inodes) < 100))
}

try_tree() { # MOST_DESCRIPTORS
	local directories

	directories=$(big 10 100)
	native || check_bounds 'nothing' "$1" 30000
	mkdir "$MNT/tree"
	make_tree "$directories"
	same "$(find "$BACKING/tree" -type f | wc -l)" $((directories * 1000))
	native || check_bounds 'creating' "$1" 200000
	same "$(find "$MNT/tree" -type f -size -10c | wc -l)" $((directories * 1000))
	ls -lR "$MNT/tree" >"$WORK/list"
	same "$(grep -c file- "$WORK/list")" $((directories * 1000))
	grep -r . "$MNT/tree" | wc -l >"$WORK/lines"
	same "$(<"$WORK/lines")" $((directories * 1000))
	native || check_bounds 'walking and reading' "$1" 200000
	rm -r "$MNT/tree"
	same "$(ls "$BACKING")" ''
	native && return
	wait_until 60 has_few_inodes || fail "$(counter zcfs_inodes) inodes are left"
	check_bounds 'removing' "$1" 200000
	at_most "$(counter zcfs_open_files)" 2 'open files'
}

# A table that grew later would hold up everybody, see make_room_for_fds().
# filesystems: ext4
# native: no
test_there_is_room_for_descriptors_from_the_start() {
	local limit

	zcfs_mount
	limit=$(ulimit -Hn)
	[[ $limit != unlimited ]] && ((limit < 16384)) || limit=16384
	at_least "$(awk '$1 == "FDSize:" { print $2 }' "/proc/$zcfs_pid/status")" "$limit" 'room for descriptors'
}

# filesystems: ext4 xfs btrfs
# users: root
# native: no
test_looking_up_and_opening_and_writing_keep_no_descriptors() {
	local i

	mkdir "$BACKING/d"
	touch "$BACKING/d/"{1..300}
	zcfs_mount
	for i in {1..300}; do
		[[ -f $MNT/d/$i ]] || fail "$i is not there"
	done
	at_least "$(counter zcfs_inodes)" 300 'inodes'
	at_most "$(counter zcfs_open_fds)" 10 'descriptors'
	cat "$MNT/d/"{1..300}
	at_most "$(counter zcfs_open_fds)" 10 'descriptors after reading'
	for i in {1..300}; do
		echo text >"$MNT/d/new-$i"
	done
	at_most "$(counter zcfs_open_fds)" 10 'descriptors after writing'
}

# timeout: 400
# users: root
test_a_large_tree_is_created_walked_and_removed() {
	zcfs_mount
	try_tree 5000
}

# timeout: 400
# users: root
test_a_large_tree_needs_few_descriptors() {
	under=(prlimit --nofile=256)
	zcfs_mount
	try_tree 256
}

# An ordinary user has no file handles: a descriptor for each inode, and the limit is small.
# timeout: 400
# users: user
test_a_large_tree_needs_no_more_descriptors_than_there_are() {
	under=(prlimit --nofile=1024)
	zcfs_mount
	try_tree 1024
}

# timeout: 120
# users: user
test_a_tree_of_open_files_up_to_the_limit_is_no_end() {
	under=(prlimit --nofile=512)
	zcfs_mount
	mkdir "$MNT/tree"
	make_tree 1
	native && return
	# Holds as many files open as zcfs can have, and more: errors are right, their end too.
	(
		for i in "$MNT"/tree/0/file-*; do
			exec {_}<"$i" || break
		done
	) 2>/dev/null || true
	wait_until 60 has_few_open_files || fail "$(counter zcfs_open_files) files are open"
	same "$(<"$MNT/tree/0/file-999")" 1000
	rm -r "$MNT/tree"
}

has_few_open_files() {
	(($(counter zcfs_open_files) < 5))
}

# users: root
test_a_directory_of_20000_entries_is_listed_and_removed() {
	zcfs_mount
	mkdir "$MNT/d"
	(cd "$BACKING/d" && seq -f 'a-rather-long-name-for-an-empty-file-%.0f' 20000 | xargs touch)
	same "$(find "$MNT/d" -type f | wc -l)" 20000
	rm -r "$MNT/d"
	[[ ! -e $BACKING/d ]]
}

# timeout: 400
# users: root
test_a_large_directory_is_listed_whole_and_in_any_order() {
	local count

	count=$(big 20000 200000)
	zcfs_mount
	mkdir "$MNT/d"
	listing make "$BACKING/d" "$count"
	listing check "$MNT/d" "$count"
	rm -r "$BACKING/d"
}
