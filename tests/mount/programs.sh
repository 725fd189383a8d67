# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Other people's programs.

sqlite() {
	sqlite3 -bail -batch "$MNT/db" "$1"
}

# wants: sqlite3
test_sqlite_keeps_its_promises_with_a_write_ahead_log() {
	local i n jobs=()

	zcfs_mount
	same "$(sqlite 'pragma journal_mode = wal')" wal
	sqlite 'create table t(who, n)'
	for i in 1 2 3; do
		for n in 1 2 3 4 5 6 7 8 9 10; do
			echo "pragma busy_timeout = 30000; insert into t values($i, $n);"
		done | sqlite3 -bail -batch "$MNT/db" >/dev/null &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i"
	done
	same "$(sqlite 'select count(*), sum(n) from t')" '30|165'
	same "$(sqlite 'pragma integrity_check')" ok
}

# wants: fio
test_fio_reads_what_it_wrote() {
	zcfs_mount
	fio --name=a --directory="$MNT" --size=4M --bs=4k-64k --rw=randwrite --verify=crc32c \
		--do_verify=1 --numjobs=2 --ioengine=psync --output="$WORK/fio" || fail "$(tail "$WORK/fio")"
}

# wants: tar setfattr getfattr
test_tar_keeps_attributes_and_holes() {
	zcfs_mount
	mkdir "$MNT/from" "$MNT/to"
	truncate -s 8M "$MNT/from/sparse"
	printf x | dd of="$MNT/from/sparse" bs=1 seek=4M conv=notrunc status=none
	setfattr -n user.name -v value "$MNT/from/sparse"
	tar -C "$MNT/from" --xattrs --sparse -cf "$MNT/archive" .
	tar -C "$MNT/to" --xattrs -xf "$MNT/archive"
	cmp "$MNT/from/sparse" "$MNT/to/sparse"
	at_most "$(bytes_used "$BACKING/to/sparse")" 1000000 'bytes used'
	same "$(getfattr --only-values -n user.name "$BACKING/to/sparse")" value
}

# The mount has loaded the module if there is one.
overlay_failed() {
	grep -qw overlay /proc/filesystems || skip_kernel 'no overlay filesystem'
	fail 'no overlay can be mounted'
}

# native: no
test_an_overlay_lies_over_the_mount() {
	zcfs_mount
	mkdir "$MNT/lower" "$BACKING/../upper" "$BACKING/../work" "$BACKING/../merged"
	echo below >"$MNT/lower/f"
	mount -t overlay -o "lowerdir=$MNT/lower,upperdir=$BACKING/../upper,workdir=$BACKING/../work" \
		zcfs-test "$BACKING/../merged" || overlay_failed
	same "$(<"$BACKING/../merged/f")" below
	echo above >"$BACKING/../merged/f"
	same "$(<"$BACKING/../merged/f") $(<"$MNT/lower/f")" 'above below'
	umount "$BACKING/../merged"
}
