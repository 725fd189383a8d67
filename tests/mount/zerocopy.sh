# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Zero copy over io_uring (Linux 7.3): READ and WRITE move their data between the backing file and
# the caller's pages, and it is the counters that say so.
#
# filesystems: ext4 xfs btrfs
# users: root
# native: no
# timeout: 120

# Mounts; skips the test where the kernel has no zero copy.
zerocopy_mount() {
	zcfs_mount "$@"
	if [[ $TRANSPORT != uring ]] || grep -Eq 'io_uring_bufpool +not offered' "$MNT/.zcfs/status"; then
		zcfs_unmount
		skip_kernel 'no zero copy here'
	fi
	status_says '^zero copy +[1-9][0-9]* queues'
	status_says '^  io_uring_bufpool +taken'
}

all_was_zerocopy() { # READ_AT_LEAST WRITTEN_AT_LEAST
	at_least "$(travelled read zerocopy)" "$1" 'bytes read with zero copy'
	at_least "$(travelled write zerocopy)" "$2" 'bytes written with zero copy'
	same "$(travelled_other read) $(travelled_other write)" '0 0'
}

travelled_other() {
	echo $(($(travelled "$1" fixed) + $(travelled "$1" plain)))
}

test_files_of_any_size_are_the_same_on_both_sides() {
	local size flag total=0

	zerocopy_mount
	for size in 1 100 4095 4096 4097 65537 1048575 1048577 3000001; do
		random_file "$WORK/data" "$size"
		dd if="$WORK/data" of="$MNT/to" bs=1M status=none
		cmp "$WORK/data" "$BACKING/to"
		for flag in '' direct; do
			cp "$WORK/data" "$BACKING/from-$size$flag"
			dd if="$MNT/from-$size$flag" of="$WORK/found" ${flag:+iflag="$flag"} bs=1M status=none
			cmp "$WORK/data" "$WORK/found"
		done
		total=$((total + size))
	done
	: >"$BACKING/empty"
	cmp "$MNT/empty" "$BACKING/empty"
	same "$(travelled write zerocopy)" "$total"
	all_was_zerocopy $((2 * total)) "$total"
}

forget_cached() { # FILE
	cool "$1"
	same "$(fincore -bno RES "$1" | tr -d ' ')" 0
}

# What the mount's page cache gets is not kept in that of the backing file too.
# needs: fincore
test_what_is_not_cached_is_read_around_the_page_cache() {
	random_file "$BACKING/f" 5000001
	zerocopy_mount
	forget_cached "$BACKING/f"
	dd if="$MNT/f" bs=1M status=none | sha256sum >"$WORK/found"
	at_most "$(fincore -bno RES "$BACKING/f")" 65536 'bytes of the backing file in the page cache'
	same "$(<"$WORK/found")" "$(sha256sum <"$BACKING/f")"
	all_was_zerocopy 5000001 0
}

# Written in the backing directory, and not on the disk yet; read with a part of it cached.
# needs: fincore
test_what_is_cached_is_read_from_there() {
	random_file "$WORK/data" 5000001
	zerocopy_mount -o cache=auto,attr_timeout=0
	cp "$WORK/data" "$BACKING/f"
	cmp "$MNT/f" "$WORK/data"
	forget_cached "$BACKING/f"
	dd if="$WORK/data" of="$BACKING/f" bs=300001 seek=4 skip=4 count=5 conv=notrunc status=none
	random_file "$WORK/more" 300001
	for file in "$BACKING/f" "$WORK/data"; do
		dd if="$WORK/more" of="$file" bs=300001 seek=7 conv=notrunc status=none
	done
	cmp "$MNT/f" "$WORK/data"
	all_was_zerocopy 10000002 0
}

test_every_way_to_read_and_write_behaves_as_natively() {
	zerocopy_mount
	check_data "$NATIVE" "$MNT"
	all_was_zerocopy 1 1
}

test_every_way_to_read_and_write_behaves_as_natively_without_the_page_cache() {
	zerocopy_mount -o cache=never
	check_data "$NATIVE" "$MNT"
	all_was_zerocopy 1 1
}

test_a_page_cache_that_writes_back_is_written_with_zero_copy() {
	random_file "$WORK/data" 5000001
	zerocopy_mount -o writeback
	dd if="$WORK/data" of="$MNT/f" bs=10000 conv=fsync status=none
	cmp "$WORK/data" "$BACKING/f"
	all_was_zerocopy 0 5000001
}

test_holes_are_read_and_filled() {
	truncate -s 5000000 "$BACKING/f" "$WORK/copy"
	zerocopy_mount
	for file in "$BACKING/f" "$WORK/copy"; do
		printf text | dd of="$file" bs=1 seek=2000000 conv=notrunc status=none
	done
	cmp "$MNT/f" "$WORK/copy"
	dd if="$MNT/f" iflag=direct bs=256K status=none | cmp - "$WORK/copy"
	for file in "$MNT/f" "$WORK/copy"; do
		printf more | dd of="$file" bs=1 seek=4000001 conv=notrunc status=none
	done
	cmp "$BACKING/f" "$WORK/copy"
	all_was_zerocopy 5000000 4
}

# The caller's own memory meets the backing filesystem's O_DIRECT. Where that does not take it, the
# page cache does.
test_direct_io_takes_memory_that_lies_anywhere() {
	zerocopy_mount
	odd_direct "$MNT/f" 0 512 1 2 4 8 100 4095
	cmp "$MNT/f" "$BACKING/f"
	all_was_zerocopy 2000000 2000000
}

test_small_files_are_written_and_read() {
	local i

	zerocopy_mount -o cache=never
	for ((i = 0; i < 100; i++)); do
		printf '%*d' $((i * 37 % 5000 + 1)) "$i" | tee "$WORK/f-$i" >"$MNT/f-$i"
	done
	cat "$WORK/f-"* >"$WORK/all"
	cat "$BACKING/f-"* | cmp - "$WORK/all"
	cat "$MNT/f-"* | cmp - "$WORK/all"
	all_was_zerocopy 100000 100000
}

test_many_at_once_get_their_own_data() {
	local i jobs=() flag

	zerocopy_mount
	for ((i = 10; i < 30; i++)); do
		random_file "$BACKING/from-$i" 1M
	done
	for ((i = 10; i < 30; i++)); do
		((i % 2)) && flag=direct || flag=fullblock
		dd if="$MNT/from-$i" of="$MNT/to-$i" iflag="$flag" bs=64K status=none &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i"
	done
	cat "$BACKING/from-"* | cmp - <(cat "$BACKING/to-"*)
	all_was_zerocopy 20000000 20000000
}

# A filesystem of 8 MiB in a file, below the mount.
small_filesystem() {
	truncate -s 8M "$WORK/image"
	mkfs.ext4 -q -b 4096 -O ^has_journal "$WORK/image"
	mount -o loop "$WORK/image" "$BACKING"
	trap 'umount -l "$BACKING"' EXIT
}

# filesystems: ext4
test_a_full_disk_is_an_error_and_the_end_of_the_data() {
	small_filesystem
	zerocopy_mount
	fails_with 'No space left' dd if=/dev/urandom of="$MNT/f" bs=256K
	fails_with 'No space left' dd if=/dev/urandom of="$MNT/g" bs=256K oflag=direct
	cmp "$MNT/f" "$BACKING/f"
	rm "$MNT/f" "$MNT/g"
	echo text >"$MNT/f"
	same "$(<"$BACKING/f")" text
	all_was_zerocopy 1 5000000
	zcfs_unmount
}

# The image is cut off below the file.
# filesystems: ext4
test_a_disk_that_cannot_be_read_is_an_error() {
	small_filesystem
	dd if=/dev/urandom of="$BACKING/f" bs=1M count=4 oflag=direct status=none # not in its page cache
	zerocopy_mount
	truncate -s 2M "$WORK/image"
	fails_with 'Input/output error' dd if="$MNT/f" bs=64K of=/dev/null
	fails_with 'Input/output error' dd if="$MNT/f" iflag=direct bs=1M of=/dev/null skip=3
	truncate -s 8M "$WORK/image"
	dd if="$MNT/f" iflag=direct bs=1M of=/dev/null status=none
	all_was_zerocopy 4000000 0
	zcfs_unmount
}

test_copies_inside_the_mount_go_by_the_pool() {
	random_file "$BACKING/f" 3000001
	random_file "$BACKING/small" 10000
	zerocopy_mount --copy=fixed
	copy_range "$MNT/f" "$MNT/g"
	copy_range "$MNT/small" "$MNT/small-too"
	cmp "$BACKING/f" "$BACKING/g"
	cmp "$BACKING/small" "$BACKING/small-too"
	same "$(travelled copy fixed)" 3010001
}

test_without_it_data_goes_by_the_pool() {
	random_file "$WORK/data" 3000001
	zerocopy_mount
	zcfs_unmount
	zcfs_mount --zerocopy=off
	dd if="$WORK/data" of="$MNT/f" bs=1M status=none
	dd if="$MNT/f" iflag=direct bs=1M status=none | cmp - "$WORK/data"
	same "$(travelled read zerocopy) $(travelled write zerocopy)" '0 0'
	at_least "$(travelled read fixed)" 3000001 'bytes read by READ_FIXED'
	status_says '^  io_uring_bufpool +left'
	if grep '^zero copy' "$MNT/.zcfs/status"; then fail 'it was switched off'; fi
}

test_without_the_capability_data_goes_by_the_pool() {
	random_file "$WORK/data" 3000001
	zerocopy_mount
	zcfs_unmount
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" ZCFS_DROP_ADMIN=1)
	zcfs_mount
	status_says '^transport +uring'
	status_says 'zero copy: the kernel refuses a queue: .*CAP_SYS_ADMIN is needed'
	dd if="$WORK/data" of="$MNT/f" bs=1M status=none
	dd if="$MNT/f" iflag=direct bs=1M status=none | cmp - "$WORK/data"
	same "$(travelled read fixed) $(travelled write fixed)" '3000001 3000001'
}
