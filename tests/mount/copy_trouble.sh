# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Copies that cannot end well, and copies of files that change meanwhile; by each way that data can
# take.
#
# filesystems: ext4 xfs btrfs
# users: root user

# Random, but no byte of it is zero: what was not copied can be told from what was.
source_file() { # FILE SIZE
	head -c "$2" /dev/urandom | tr '\0' '\1' >"$1"
	sync "$1"
}

# The bytes that a copy has in common with its source, from the start.
common_prefix() { # SOURCE COPY
	local size differ

	differ=$(cmp "$1" "$2" 2>&1 | sed -n 's/.* differ: [a-z]* \([0-9]*\),.*/\1/p') || true
	size=$(stat -c %s "$2")
	echo $((${differ:-$((size + 1))} - 1))
}

# The range of the file is zeros.
is_zero() { # FILE FROM TO
	cmp -n $(($3 - $2)) -i "$2:0" "$1" /dev/zero
}

# Leaves so many MiB of the filesystem, which is ours alone. What ext4 reserves is root's.
fill_disk() { # DIRECTORY MIB
	local i free which=%a

	[[ $FILESYSTEM-$WHO != ext4-root ]] || which=%f
	for ((i = 0; i < 5; i++)); do
		free=$(($(stat -f -c "$which * %S" "$1") / 1048576))
		((free > $2)) || return 0
		fallocate -l $((free - $2))M "$1/filler-$i" 2>/dev/null || true
	done
}

# Old data behind a hole, into which the copy goes.
test_a_full_disk_ends_a_copy_with_a_whole_prefix() {
	local mode told found

	native && [[ $FILESYSTEM != ext4 ]] && return # a clone
	source_file "$BACKING/source" 60M
	fill_disk "$BACKING" 20
	for mode in fixed direct; do
		zcfs_mount --copy="$mode"
		rm -f "$BACKING/copy"
		sync -f "$BACKING"
		truncate -s 64M "$BACKING/copy"
		dd if="$BACKING/source" of="$BACKING/copy" bs=64K count=4 seek=1008 conv=notrunc,fsync \
			status=none
		! copy_range "$MNT/source" "$MNT/copy" >"$WORK/said" 2>&1 ||
			fail "$mode: it fits: $(<"$WORK/said")"
		grep -q 'No space left on device' "$WORK/said" || fail "$mode: $(<"$WORK/said")"
		told=$(sed -n 's/^\([0-9]*\) bytes in .*/\1/p' "$WORK/said")
		note "$mode: $told bytes fit"
		at_least "$told" 1000000 "$mode: bytes copied"
		found=$(common_prefix "$BACKING/source" "$BACKING/copy")
		at_least "$found" "$told" "$mode: bytes that are there"
		# Of a direct write that fails the kernel does not say what it has written.
		at_most "$found" $((told + ($([[ $mode == direct ]] && echo 1 || echo 0) << 20))) \
			"$mode: bytes that are there"
		is_zero "$BACKING/copy" "$found" $((1008 * 65536))
		cmp -n 262144 -i "0:$((1008 * 65536))" "$BACKING/source" "$BACKING/copy"
		same "$(stat -c %s "$MNT/copy")" $((64 << 20))
		if ! native && [[ $mode == direct && $FILESYSTEM != btrfs ]]; then
			at_least "$(travelled copy direct)" 1000000 'bytes by O_DIRECT'
		fi
		zcfs_unmount
	done
}

# A clone takes no room for data. On a disk without any it is made all the same, or there is none.
# filesystems: xfs btrfs
test_a_full_disk_has_room_for_a_clone() {
	source_file "$BACKING/source" 60M
	fill_disk "$BACKING" 20
	zcfs_mount
	copy_range "$MNT/source" "$MNT/copy"
	cmp "$BACKING/source" "$BACKING/copy"
	native || same "$(travelled copy clone)" $((60 << 20))
}

# The checksums of btrfs tell what the disk has changed.
# filesystems: btrfs
# users: root
# native: no
# needs: mkfs.btrfs
test_a_source_that_cannot_be_read_ends_a_copy_with_a_whole_prefix() {
	local mode at told

	truncate -s 256M "$WORK/image"
	mkfs.btrfs -q -f -d single "$WORK/image" >/dev/null
	mkdir "$BACKING/broken"
	mount -o loop "$WORK/image" "$BACKING/broken"
	source_file "$WORK/data" 20M
	printf 'the block that cannot be read' |
		dd of="$WORK/data" bs=4096 seek=3000 conv=notrunc status=none
	cp "$WORK/data" "$BACKING/broken/source"
	umount "$BACKING/broken"
	at=$(grep -obUa -m 1 'the block that cannot be read' "$WORK/image" | head -n 1 | cut -d: -f 1)
	printf 'X' | dd of="$WORK/image" bs=1 seek="$at" conv=notrunc status=none
	mount -o loop "$WORK/image" "$BACKING/broken"
	for mode in fixed direct auto; do
		zcfs_mount --copy="$mode"
		! copy_range "$MNT/broken/source" "$MNT/copy" >"$WORK/said" 2>&1 ||
			fail "$mode: it is read: $(<"$WORK/said")"
		grep -q 'Input/output error' "$WORK/said" || fail "$mode: $(<"$WORK/said")"
		told=$(sed -n 's/^\([0-9]*\) bytes in .*/\1/p' "$WORK/said")
		same "$told" $((3000 * 4096))
		same "$(stat -c %s "$BACKING/copy")" "$told"
		cmp -n "$told" "$WORK/data" "$BACKING/copy"
		# What can be read behind it.
		copy_range -i $((3001 * 4096)) -o $((3001 * 4096)) "$MNT/broken/source" "$MNT/copy"
		cmp -i $((3001 * 4096)) "$WORK/data" "$BACKING/copy"
		rm "$MNT/copy"
		zcfs_unmount
	done
	umount "$BACKING/broken"
}

# --- Files that change in the middle of a copy ----------------------------------------------------

# A copy of 20 MB in writes of 64 KiB, held up before the tenth of them, with at most four read: in
# $copier. hold_up is of fault_preload.c, which sees what goes by pread and pwrite.
start_held_copy() { # MODE
	printf '%-63s\n' 'pwrite 10 1 -1' >"$WORK/fault"
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
	source_file "$BACKING/source" 20000000
	rm -f "$BACKING/copy"
	zcfs_mount -o "io=plain,copy=$1,copy_buffer_size=64K,copy_max=8M"
	copy_range "$MNT/source" "$MNT/copy" >"$WORK/said" 2>&1 &
	copier=$!
	wait_until 60 is_held_up || fail "$1: the copy is not held up"
}

is_held_up() {
	grep -q "^pid=.* done=$((9 * 65536)) " "$MNT/.zcfs/copies"
}

end_held_copy() {
	printf '%-63s\n' '' | dd of="$WORK/fault" conv=notrunc status=none
	wait "$copier"
}

# Through the mount: what is done beside it the kernel learns with the next attributes.
# native: no
test_a_source_that_grows_meanwhile_is_copied_to_its_end() {
	local mode copier

	for mode in fixed direct; do
		start_held_copy "$mode"
		head -c 3000001 /dev/urandom >>"$MNT/source"
		end_held_copy
		cmp "$BACKING/source" "$BACKING/copy"
		zcfs_unmount
	done
}

# Into the middle of a block. What was read before is allowed to have been there still.
# native: no
test_a_source_that_shrinks_meanwhile_ends_the_copy() {
	local mode copier size left=$((11 * 65536 + 777))

	for mode in fixed direct; do
		start_held_copy "$mode"
		cp --reflink=never "$BACKING/source" "$WORK/before"
		truncate -s "$left" "$BACKING/source"
		end_held_copy || fail "$mode: $(<"$WORK/said")"
		size=$(stat -c %s "$BACKING/copy")
		at_least "$size" "$left" 'bytes of the copy'
		at_most "$size" $((14 * 65536)) 'bytes of the copy'
		cmp -n "$size" "$WORK/before" "$BACKING/copy"
		# Going around the page cache has not been given up for that.
		random_file "$BACKING/source" 1M
		copy_range "$MNT/source" "$MNT/copy"
		cmp -n 1M "$BACKING/source" "$BACKING/copy"
		[[ $mode != direct || $FILESYSTEM == btrfs ]] ||
			at_least "$(travelled copy direct)" $(((1 << 20) + 9 * 65536)) 'bytes by O_DIRECT'
		zcfs_unmount
	done
}

# By whom does not matter: through the mount, or beside it, where the new data is a page not yet
# written back.
# native: no
test_a_source_that_is_rewritten_meanwhile_is_copied_as_it_is() {
	local mode copier

	for mode in fixed direct; do
		start_held_copy "$mode"
		random_file "$WORK/new" 100001
		dd if="$WORK/new" of="$BACKING/source" bs=64K seek=15000007 oflag=seek_bytes conv=notrunc \
			status=none
		dd if="$WORK/new" of="$MNT/source" bs=64K seek=17000007 oflag=seek_bytes conv=notrunc \
			status=none
		end_held_copy
		cmp "$BACKING/source" "$BACKING/copy"
		cmp -i 15000007:0 -n 100001 "$BACKING/copy" "$WORK/new"
		cmp -i 17000007:0 -n 100001 "$MNT/copy" "$WORK/new"
		zcfs_unmount
	done
}

# --- A destination that others use ----------------------------------------------------------------

test_who_has_the_destination_mapped_or_open_sees_the_copy() {
	local mode

	source_file "$BACKING/source" 8000123
	for mode in fixed direct auto kernel; do
		random_file "$BACKING/copy" 8000123
		zcfs_mount --copy="$mode"
		exec 5<"$BACKING/copy" 6<"$MNT/copy"
		head -c 1M <&6 >/dev/null
		# Beside the mount it has pages in the page cache, one of them dirty.
		copy_range -m "$BACKING/copy" "$MNT/source" "$MNT/copy" || fail "$mode: not what it sees"
		cmp "$BACKING/source" - <&5
		cmp -i 1M:0 "$BACKING/source" - <&6
		exec 5<&- 6<&-
		# Mapped through the mount as well.
		random_file "$BACKING/copy" 8000123
		copy_range -m "$MNT/copy" "$MNT/source" "$MNT/copy" || fail "$mode: not what is mapped"
		dd if="$BACKING/copy" iflag=direct bs=64K status=none | cmp - "$BACKING/source"
		zcfs_unmount
	done
}

# Opens both files, waits, and copies when go is called.
start_waiting_copy() {
	mkfifo "$WORK/fifo"
	copy_range -w "$MNT/source" "$MNT/copy" <"$WORK/fifo" >"$WORK/said" 2>&1 &
	copier=$!
	exec 7>"$WORK/fifo" # when it is opened for reading
	wait_until 60 has_opened_both || fail 'it does not open the files'
}

has_opened_both() {
	(($(find "/proc/$copier/fd" -lname '*/source' -o -lname '*/copy' | wc -l) == 2))
}

go() {
	exec 7>&-
	rm "$WORK/fifo"
	wait "$copier"
}

# users: root
# needs: chattr
test_a_file_that_has_become_immutable_is_not_changed() {
	local mode copier

	source_file "$BACKING/source" 4000000
	for mode in auto fixed direct clone kernel; do
		head -c 4000000 /dev/zero >"$BACKING/copy"
		zcfs_mount --copy="$mode"
		start_waiting_copy
		chattr +i "$BACKING/copy"
		trap 'chattr -i "$BACKING/copy"' EXIT
		! go || fail "$mode: it is changed"
		grep -q 'Operation not permitted' "$WORK/said" || fail "$mode: $(<"$WORK/said")"
		fails_with 'Operation not permitted' copy_range "$MNT/source" "$MNT/copy"
		chattr -i "$BACKING/copy"
		trap - EXIT
		is_zero "$BACKING/copy" 0 4000000
		zcfs_unmount
	done
}

# users: root
# needs: mkswap
test_an_active_swap_file_is_neither_changed_nor_copied() {
	local mode copier

	source_file "$BACKING/source" 4M
	for mode in auto fixed direct clone kernel; do
		rm -f "$BACKING/copy"
		: >"$BACKING/copy"
		chmod 600 "$BACKING/copy"
		[[ $FILESYSTEM != btrfs ]] || chattr +C "$BACKING/copy"
		dd if=/dev/zero of="$BACKING/copy" bs=1M count=4 conv=notrunc,fsync status=none
		mkswap -q "$BACKING/copy" >/dev/null
		sha256sum "$BACKING/copy" >"$WORK/sum"
		zcfs_mount --copy="$mode"
		start_waiting_copy
		swapon -p 0 "$BACKING/copy" 2>"$WORK/swapon" || skip_kernel "swapon: $(<"$WORK/swapon")"
		trap 'swapoff "$BACKING/copy"' EXIT
		! go || fail "$mode: it is changed"
		grep -q 'Text file busy' "$WORK/said" || fail "$mode: $(<"$WORK/said")"
		fails_with 'Text file busy' copy_range "$MNT/copy" "$MNT/other"
		swapoff "$BACKING/copy"
		trap - EXIT
		sha256sum -c --quiet "$WORK/sum"
		zcfs_unmount
	done
}

# The one of zcfs itself is an error for the caller, and not the end of zcfs.
# native: no
test_a_limit_of_zcfs_on_the_size_of_files_ends_a_copy() {
	local mode

	source_file "$BACKING/source" 4000000
	under=(prlimit --fsize=3000000)
	for mode in fixed direct kernel; do
		zcfs_mount --copy="$mode"
		fails_with 'File too large' copy_range "$MNT/source" "$MNT/copy"
		same "$(stat -c %s "$BACKING/copy")" 3000000
		cmp -n 3000000 "$BACKING/source" "$BACKING/copy"
		rm "$BACKING/copy"
		zcfs_unmount
	done
}

# --- Sparse files ---------------------------------------------------------------------------------

test_cp_makes_a_copy_sparse_or_not_as_it_is_told() {
	local mode copy

	truncate -s 24M "$BACKING/source" # two MiB of data, two of zeros that are allocated, holes
	source_file "$WORK/data" 2M
	dd if="$WORK/data" of="$BACKING/source" bs=1M seek=4 conv=notrunc status=none
	dd if=/dev/zero of="$BACKING/source" bs=1M seek=12 count=2 conv=notrunc,fsync status=none
	for mode in fixed direct auto kernel; do
		zcfs_mount --copy="$mode"
		cp --sparse=always "$MNT/source" "$MNT/always"
		cp --sparse=auto "$MNT/source" "$MNT/auto"
		cp --sparse=never --reflink=never "$MNT/source" "$MNT/never"
		sync -f "$BACKING"
		for copy in always auto never; do
			cmp "$BACKING/source" "$BACKING/$copy"
		done
		if ! native || [[ $FILESYSTEM == ext4 ]]; then # no clone
			at_most "$(bytes_used "$BACKING/always")" $((3 << 20)) 'bytes with --sparse=always'
		fi
		at_most "$(bytes_used "$BACKING/auto")" $((6 << 20)) 'bytes with --sparse=auto'
		at_least "$(bytes_used "$BACKING/never")" $((23 << 20)) 'bytes with --sparse=never'
		rm "$BACKING/always" "$BACKING/auto" "$BACKING/never"
		zcfs_unmount
	done
}

# timeout: 180
test_a_sparse_file_of_1_TiB_is_copied_soon_by_any_way() {
	local mode at began path size=$((1 << 40))

	truncate -s 1T "$BACKING/source"
	source_file "$WORK/data" 1M
	for at in 0 5000003584 549755813888 1099510579200; do
		dd if="$WORK/data" of="$BACKING/source" bs=64K seek="$at" oflag=seek_bytes conv=notrunc \
			status=none
	done
	sync "$BACKING/source"
	for mode in fixed direct auto; do
		native && [[ $FILESYSTEM == ext4 ]] && return # which reads every hole
		zcfs_mount --copy="$mode"
		began=${EPOCHREALTIME/./}
		copy_range "$MNT/source" "$MNT/copy"
		began=$(((${EPOCHREALTIME/./} - began) / 1000))
		note "$mode: $began ms"
		at_most "$began" 60000 'milliseconds' # without SEEK_HOLE it would be many minutes
		same "$(stat -c %s "$BACKING/copy")" "$size"
		sync "$BACKING/copy"
		at_most "$(bytes_used "$BACKING/copy")" 20000000 'bytes on disk'
		for at in 0 5000003584 549755813888 1099510579200; do
			cmp -i "$at:0" -n 1M "$BACKING/copy" "$WORK/data"
		done
		rm "$BACKING/copy"
		if ! native; then
			path=$mode
			if [[ $mode == auto ]]; then
				path=clone
				[[ $FILESYSTEM != ext4 ]] || path=fixed
			fi
			at_least "$(travelled copy "$path")" 3000000 "bytes by $path"
		fi
		zcfs_unmount
	done
}
