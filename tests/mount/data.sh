# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Reading and writing, and which way the bytes went.
#
# filesystems: ext4 xfs btrfs
# users: root user

test_data_behaves_as_natively() {
	zcfs_mount
	check_data "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_data_behaves_as_natively_without_the_page_cache() {
	zcfs_mount -o cache=never
	check_data "$NATIVE" "$MNT"
}

# filesystems: ext4
test_data_behaves_as_natively_with_writeback() {
	zcfs_mount -o writeback
	# All is data then; and only writing back meets the limit of a file's size.
	check_data "$NATIVE" "$MNT" -holes_and_data_are_found \
		-files_are_as_large_as_on_the_backing_filesystem
}

# filesystems: ext4
# users: root
test_data_behaves_as_natively_with_plain_io() {
	zcfs_mount -o io=plain
	check_data "$NATIVE" "$MNT"
	native || same "$(travelled read fixed) $(travelled write fixed)" '0 0'
}

# filesystems: ext4
test_data_behaves_as_natively_with_mixed_io() {
	zcfs_mount -o io=mixed
	check_data "$NATIVE" "$MNT"
}

# filesystems: ext4
# users: root
test_data_behaves_as_natively_with_one_thread_and_small_buffers() {
	zcfs_mount -o threads=1,buffer_size=4K
	check_data "$NATIVE" "$MNT"
}

# run_fio PASS [OPTION...]: small and large, sequential and random, through the page cache and
# around it. The pass "write" writes, the pass "verify" reads and compares.
run_fio() {
	local size extra=()

	size=$(big 8 64)
	[[ $1 != write ]] || extra=(--do_verify=0)
	[[ $1 != verify ]] || extra=(--verify_only)
	shift
	fio --directory="$MNT" --verify=crc32c --verify_fatal=1 --ioengine=psync --thread --size="${size}m" \
		--fallocate=none --invalidate=1 --output-format=terse --terse-version=3 "${extra[@]}" "$@" \
		--name=seq4k --rw=write --bs=4k \
		--name=rand4k --rw=randwrite --bs=4k \
		--name=seq1m --rw=write --bs=1m \
		--name=rand1m --rw=randwrite --bs=1m \
		--name=seq4kdirect --rw=write --bs=4k --direct=1 \
		--name=rand4kdirect --rw=randwrite --bs=4k --direct=1 \
		--name=seq1mdirect --rw=write --bs=1m --direct=1 \
		--name=rand1mdirect --rw=randwrite --bs=1m --direct=1 \
		>"$WORK/fio" 2>&1 || fail "fio: $(<"$WORK/fio")"
}

fio_bytes() { # of one pass
	echo $((8 * $(big 8 64) * 1024 * 1024))
}

# needs: fio
# timeout: 180
test_fio_verifies_and_every_byte_is_fixed() {
	zcfs_mount
	run_fio write
	run_fio verify
	native && return
	at_least "$(travelled_fixed write)" "$(fio_bytes)" 'bytes written by WRITE_FIXED'
	at_least "$(travelled_fixed read)" "$(fio_bytes)" 'bytes read by READ_FIXED'
	same "$(travelled read plain) $(travelled write plain)" '0 0'
}

# needs: fio
# filesystems: ext4
# users: root
# native: no
# timeout: 180
test_fio_verifies_with_plain_io_and_no_byte_is_fixed() {
	zcfs_mount -o io=plain
	run_fio write
	run_fio verify
	at_least "$(travelled write plain)" "$(fio_bytes)" 'bytes written by pwrite'
	at_least "$(travelled read plain)" "$(fio_bytes)" 'bytes read by pread'
	same "$(travelled read fixed) $(travelled write fixed)" '0 0'
}

# needs: fio
# filesystems: ext4
# native: no
# timeout: 180
test_fio_verifies_with_mixed_io_and_small_writes_are_plain() {
	local small

	zcfs_mount -o io=mixed
	run_fio write
	run_fio verify
	status_says '^io +mixed'
	small=$(($(fio_bytes) / 2))
	at_least "$(travelled write plain)" "$small" 'bytes written by pwrite'
	at_least "$(travelled write fixed)" "$small" 'bytes written by WRITE_FIXED'
	at_least "$(travelled read fixed)" "$(fio_bytes)" 'bytes read by READ_FIXED'
	same "$(travelled read plain)" 0
}

# needs: fio
# filesystems: ext4
# users: root
# timeout: 180
test_fio_verifies_with_writeback() {
	zcfs_mount -o writeback
	run_fio write --end_fsync=1
	run_fio verify
	native && return
	at_least "$(travelled_fixed write)" "$(fio_bytes)" 'bytes written by WRITE_FIXED'
	same "$(travelled read plain) $(travelled write plain)" '0 0'
}

# needs: fio
# filesystems: ext4
# users: root
# timeout: 180
test_fio_verifies_without_the_page_cache() {
	zcfs_mount -o cache=never
	run_fio write
	run_fio verify
	native && return
	same "$(travelled read plain) $(travelled write plain)" '0 0'
}

# needs: fio
# filesystems: ext4
# users: root
# timeout: 180
test_fio_verifies_with_several_jobs_at_once() {
	zcfs_mount
	fio --directory="$MNT" --verify=crc32c --verify_fatal=1 --ioengine=psync --size="$(big 4m 32m)" \
		--fallocate=none --numjobs=4 --output-format=terse --terse-version=3 \
		--name=mixed4k --rw=randwrite --bs=4k --name=mixed1m --rw=randwrite --bs=1m --direct=1 \
		--name=odd --rw=randwrite --bsrange=512-256k --bs_unaligned=1 \
		>"$WORK/fio" 2>&1 || fail "fio: $(<"$WORK/fio")"
	native || same "$(travelled read plain) $(travelled write plain)" '0 0'
}

test_bytes_are_the_same_on_both_sides() {
	local size

	zcfs_mount
	for size in 0 1 4095 4096 4097 1048575 1048577 10000000; do
		random_file "$WORK/data" "$size"
		cp "$WORK/data" "$MNT/to"
		cmp "$WORK/data" "$BACKING/to"
		cp "$WORK/data" "$BACKING/from-$size"
		cmp "$WORK/data" "$MNT/from-$size"
	done
}

# How much a READ will bring is guessed from the size that the file had: what counts is what it has.
# filesystems: ext4 xfs
# users: root
test_a_file_that_changes_its_size_behind_the_mount_is_read_as_it_is() {
	local before

	: >"$BACKING/f"
	zcfs_mount --cache=never
	native || before=$(travelled_fixed read)
	resize "$BACKING/f" "$MNT/f" "$(big 5000 20000)" >"$WORK/total"
	native || same $(($(travelled_fixed read) - before)) "$(<"$WORK/total")"
}

# filesystems: ext4
# users: root
test_small_requests_carry_large_files() {
	local size

	random_file "$WORK/data" 3000001
	for size in 4K 8K 64K 256K; do
		zcfs_mount "--buffer_size=$size"
		cp "$WORK/data" "$MNT/$size"
		cmp "$WORK/data" "$BACKING/$size"
		cp "$BACKING/$size" "$BACKING/again"
		cmp "$WORK/data" "$MNT/again"
		zcfs_unmount
		rm "$BACKING/$size" "$BACKING/again"
	done
}

# filesystems: ext4
test_what_was_written_is_there_after_unmounting() {
	random_file "$WORK/data" 20000000
	zcfs_mount -o writeback
	cp "$WORK/data" "$MNT/f"
	zcfs_unmount
	cmp "$WORK/data" "$BACKING/f"
}

# Of the device that the directory lies on.
sectors_written() {
	local device

	device=$(stat -c '%Hd:%Ld' "$BACKING")
	awk '{ print $7 }' "/sys/dev/block/$device/stat"
}

# write_synced TIMES: the same block each time, so that without a sync it is written once or never.
write_synced() {
	local i before

	dd if=/dev/zero of="$MNT/f" bs=4096 count=1 conv=fsync status=none
	before=$(sectors_written)
	for ((i = 0; i < $1; i++)); do
		xfs_io -c 'pwrite -q -V 1 -D 0 4096' "$MNT/f"
	done
	at_least "$(($(sectors_written) - before))" $(($1 * 8)) 'sectors written'
}

# filesystems: ext4 xfs
# users: root
# needs: xfs_io
test_a_single_write_with_RWF_DSYNC_is_on_the_disk_when_it_returns() {
	local cache

	for cache in auto never; do
		zcfs_mount -o "cache=$cache"
		write_synced 20
		native || zcfs_unmount
	done
	zcfs_mount -o writeback
	write_synced 20
}
