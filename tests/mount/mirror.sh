# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The mount looks like the backing directory, and the other way round.
#
# filesystems: ext4 xfs btrfs
# users: root user

test_names_and_attributes_behave_as_natively() {
	zcfs_mount
	check_files "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_names_and_attributes_behave_as_natively_without_caches() {
	zcfs_mount -o attr_timeout=0,entry_timeout=0,cache=never,threads=1
	check_files "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_names_and_attributes_behave_as_natively_with_all_caches() {
	zcfs_mount -o attr_timeout=60,entry_timeout=60,negative_timeout=60,cache=always,writeback
	check_files "$NATIVE" "$MNT"
}

# filesystems: ext4
# native: no
test_locks_behave_as_natively_when_forwarded() {
	zcfs_mount -o locks=forward
	check_files "$NATIVE" "$MNT" posix_locks_exclude_other_processes \
		a_waiting_lock_is_granted_when_free a_waiting_lock_is_interrupted_by_a_signal \
		open_file_description_locks_exclude flock_excludes_other_descriptors \
		flock_ends_soon_after_close
}

# native: no
# filesystems: ext4
# needs: flock
test_forwarded_locks_are_seen_behind_the_mount() {
	zcfs_mount -o locks=forward
	: >"$MNT/f"
	fails_with '' flock --exclusive "$MNT/f" flock --exclusive --nonblock "$BACKING/f" true
	# The kernel does not let close(2) wait for the RELEASE that gives the lock back.
	flock --exclusive --wait 30 "$BACKING/f" true
	fails_with '' flock --exclusive "$BACKING/f" flock --exclusive --nonblock "$MNT/f" true
	flock --exclusive --nonblock "$MNT/f" true
}

# native: no
# filesystems: ext4
# needs: flock
test_local_locks_are_given_back_before_close_returns() {
	local i

	zcfs_mount
	: >"$MNT/f"
	for ((i = 0; i < 50; i++)); do
		fails_with '' flock --exclusive "$MNT/f" flock --exclusive --nonblock "$MNT/f" true
		flock --exclusive --nonblock "$MNT/f" true
	done
}

test_a_tree_made_at_the_mount_is_the_same_behind_it() {
	zcfs_mount
	cp -a /usr/include/linux "$MNT/tree"
	ln "$MNT/tree/fuse.h" "$MNT/tree/hard"
	ln -s fuse.h "$MNT/tree/soft"
	mkfifo "$MNT/tree/fifo"
	chmod 4711 "$MNT/tree/fs.h"
	touch -d '2001-02-03 04:05:06.789' "$MNT/tree/fuse.h"
	same_trees "$MNT" "$BACKING"
	diff -r /usr/include/linux "$BACKING/tree" | grep -v '^Only in' && fail 'content differs'
	zcfs_unmount
	[[ $BACKING/tree/fuse.h -ef $BACKING/tree/hard ]]
}

test_a_tree_made_behind_the_mount_is_the_same_at_it() {
	cp -a /usr/include/linux "$BACKING/tree"
	ln -s ../nowhere "$BACKING/tree/dangling"
	zcfs_mount
	same_trees "$BACKING" "$MNT"
	same "$(stat -c '%i %h %b %B %Z' "$MNT/tree/fuse.h")" \
		"$(stat -c '%i %h %b %B %Z' "$BACKING/tree/fuse.h")"
	same "$(stat -f -c '%b %S %s %l' "$MNT")" "$(stat -f -c '%b %S %s %l' "$BACKING")"
}

# needs: tar
test_tar_packs_and_unpacks_a_tree() {
	zcfs_mount
	tar -C /usr/include -cf "$MNT/archive.tar" linux
	mkdir "$MNT/out"
	tar -C "$MNT/out" -xf "$MNT/archive.tar"
	diff -r /usr/include/linux "$MNT/out/linux"
	cmp "$MNT/archive.tar" "$BACKING/archive.tar"
	rm -r "$MNT/out"
	[[ ! -e $BACKING/out ]]
}

# needs: git
# filesystems: ext4
test_git_works_inside() {
	zcfs_mount
	cp -r /usr/include/linux/netfilter "$MNT/project"
	cd "$MNT/project"
	git init -q .
	git add .
	git -c user.name=a -c user.email=a@example.com commit -qm all
	rm -r .[!.]*/hooks ./*
	git checkout -q .
	git gc -q
	git fsck --strict
	same "$(git status --porcelain)" ''
	diff -r -x .git /usr/include/linux/netfilter .
	cd "$WORK"
}

# filesystems: ext4
# native: no
test_changes_behind_the_mount_are_seen_at_once_without_timeouts() {
	local word

	zcfs_mount -o attr_timeout=0,entry_timeout=0
	mkdir "$BACKING/d"
	for word in one two six ten; do # all as long as each other
		echo "$word" >"$BACKING/d/f"
		same "$(<"$MNT/d/f")" "$word"
	done
	echo longer >>"$BACKING/d/f"
	same "$(<"$MNT/d/f")" $'ten\nlonger'
	mv "$BACKING/d/f" "$BACKING/d/g"
	[[ ! -e $MNT/d/f && -e $MNT/d/g ]]
	chmod 600 "$BACKING/d/g"
	same "$(stat -c %a "$MNT/d/g")" 600
	rm "$BACKING/d/g"
	[[ ! -e $MNT/d/g ]]
	rmdir "$BACKING/d"
	[[ ! -e $MNT/d ]]
	same "$(ls "$MNT")" ''
}

# filesystems: ext4
# native: no
test_changes_behind_the_mount_are_seen_after_a_second() {
	zcfs_mount
	echo one >"$BACKING/f"
	same "$(<"$MNT/f")" one
	echo two >"$BACKING/f"
	wait_until 60 says two "$MNT/f"
	rm "$BACKING/f"
	wait_until 60 is_missing "$MNT/f"
	echo new >"$BACKING/f"
	same "$(<"$MNT/f")" new
}

says() {
	[[ $(<"$2") == "$1" ]]
}

is_missing() {
	[[ ! -e $1 ]]
}

# filesystems: ext4
# native: no
test_a_file_replaced_behind_the_mount_leaves_the_open_one_alone() {
	zcfs_mount -o attr_timeout=0,entry_timeout=0
	echo old >"$BACKING/f"
	exec 5<"$MNT/f"
	echo new >"$BACKING/other"
	mv "$BACKING/other" "$BACKING/f"
	same "$(<"$MNT/f")" new
	same "$(cat <&5)" old
	exec 5<&-
}

# filesystems: ext4
# native: no
test_symbolic_links_are_not_followed_out_of_the_backing_directory_by_zcfs() {
	echo outside >"$WORK/outside"
	ln -s "$WORK" "$BACKING/out"
	zcfs_mount
	# The kernel follows it, to where the link leads at the caller.
	same "$(<"$MNT/out/outside")" outside
	same "$(readlink "$MNT/out")" "$WORK"
	# A directory that becomes a link behind our back is no way out.
	mkdir "$BACKING/d"
	echo inside >"$BACKING/d/f"
	cd "$MNT/d"
	mv "$BACKING/d" "$BACKING/moved"
	ln -s "$WORK" "$BACKING/d"
	same "$(<f)" inside
	fails_with 'No such file' cat outside
	cd "$WORK"
}

# What is older than mtime moves with relatime too. Prints which of file and directory moved.
moved_when_read() { # OPTION...
	mkdir -p "$BACKING/d"
	echo text >"$BACKING/d/f"
	touch -a -d 2001-01-01 "$BACKING/d/f" "$BACKING/d"
	zcfs_mount "$@"
	cat "$MNT/d/f" >/dev/null
	ls "$MNT/d" >/dev/null
	zcfs_unmount
	find "$BACKING/d" -newerat 2002-01-01 -printf '%y\n' | sort | tr -d '\n'
}

# native: no
test_access_times_move_but_with_noatime_and_read_only() {
	same "$(moved_when_read)" df
	same "$(moved_when_read -o noatime)" ''
	same "$(moved_when_read -o ro)" ''
	same "$(moved_when_read -o nodiratime)" f
	same "$(moved_when_read -o noatime,atime)" df
}
