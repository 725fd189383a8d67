# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Kernel passthrough: the same bytes as ever, of which none comes to zcfs; who has a file open
# agrees on how; no backing id is left.
#
# filesystems: ext4
# users: root
# native: no
# timeout: 120

mount_passthrough() { # ro|rw [OPTION...]
	zcfs_mount "--passthrough=$1" "${@:2}"
	grep -Eq '^ *passthrough +taken' "$MNT/.zcfs/status" && return
	grep -Eq '^ *passthrough +not offered' "$MNT/.zcfs/status" || fail 'it is offered, and not taken'
	status_says 'without kernel passthrough: the kernel is older than 6.9'
	zcfs_unmount
	skip 'the kernel has no passthrough'
}

opens() { # RESULT
	counter "zcfs_passthrough_opens_total{result=\"$1\"}"
}

has_no_ids() {
	(($(counter zcfs_backing_ids) == 0))
}

# RELEASE comes after close(2) has returned.
no_ids_are_left() {
	wait_until 30 has_no_ids || fail "backing ids are left: $(counter zcfs_backing_ids)"
}

no_data_came() {
	same "$(travelled_fixed read) $(travelled read plain)" '0 0'
	same "$(travelled_fixed write) $(travelled write plain)" '0 0'
}

says_that_access_times_move() {
	grep -q 'without .*: what the kernel passes through moves them' "$MNT/.zcfs/status"
}

# They stay only where the backing filesystem leaves them.
test_access_times_that_noatime_cannot_keep_are_told() {
	local option

	mkdir "$WORK/quiet"
	echo text >"$BACKING/f"
	touch -a -d 2001-01-01 "$BACKING/f"
	mount --bind "$BACKING" "$WORK/quiet"
	mount -o remount,bind,noatime "$WORK/quiet"
	mount_passthrough ro
	! says_that_access_times_move || fail 'nobody asked for them to stay'
	zcfs_unmount
	for option in noatime ro; do
		mount_passthrough ro -o "$option"
		says_that_access_times_move || fail "with $option: $(<"$MNT/.zcfs/status")"
		zcfs_unmount
	done
	BACKING=$WORK/quiet
	for option in noatime ro; do
		mount_passthrough ro -o "$option"
		! says_that_access_times_move || fail "they stay, with $option"
		same "$(<"$MNT/f")" text
		same "$(opens passed)" 1
		zcfs_unmount
	done
	same "$(stat -c %X "$WORK/quiet/f")" "$(date -d 2001-01-01 +%s)"
	umount "$WORK/quiet"
}

test_no_byte_of_reads_and_writes_comes_to_zcfs() {
	local size

	mount_passthrough rw
	for size in 0 1 4097 3000001; do
		random_file "$WORK/data" "$size"
		cat "$WORK/data" >"$MNT/to"
		cmp "$WORK/data" "$BACKING/to"
		cmp "$WORK/data" "$MNT/to"
		dd if="$WORK/data" of="$MNT/to" bs=4097 conv=notrunc status=none
		cat "$WORK/data" >>"$MNT/to"
		cat "$WORK/data" "$WORK/data" | cmp - "$BACKING/to"
		same "$(stat -c %s "$MNT/to")" $((2 * size))
	done
	no_data_came
	at_least "$(opens passed)" 16 'files passed through'
	same "$(opens writer) $(opens in_use) $(opens refused)" '0 0 0'
	no_ids_are_left
}

test_ro_leaves_writes_to_the_pool() {
	mount_passthrough ro
	random_file "$WORK/data" 3000001
	cat "$WORK/data" >"$MNT/f"
	same "$(travelled_fixed write)" 3000001
	wait_until 30 are_open 0 || fail 'the writer is not released'
	cmp "$WORK/data" "$MNT/f"
	same "$(travelled_fixed read)" 0
	same "$(opens writer)" 1
	no_ids_are_left
}

are_open() { # NUMBER
	(($(counter zcfs_open_files) == $1))
}

test_ro_serves_a_writer_beside_a_reader_who_sees_it_all() {
	mount_passthrough ro
	echo first >"$BACKING/f"
	exec 7<"$MNT/f"
	exec 8<>"$MNT/f"
	same "$(opens passed) $(opens writer)" '1 1'
	same "$(counter zcfs_backing_ids)" 1
	echo other >&8
	same "$(cat <&7)" other
	same "$(<"$BACKING/f")" other
	same "$(travelled_fixed write)" 6
	exec 7<&- 8<&-
	no_ids_are_left
}

test_all_who_have_a_file_open_share_one_id() {
	mount_passthrough rw
	echo text >"$BACKING/f"
	exec 6<"$MNT/f"
	exec 7<>"$MNT/f"
	exec 8>>"$MNT/f"
	exec 9<"$MNT/f"
	same "$(counter zcfs_backing_ids)" 1
	same "$(opens passed)" 4
	echo more >&8
	same "$(cat <&6)" $'text\nmore'
	exec 6<&- 9<&-
	same "$(cat <&7)" $'text\nmore'
	same "$(counter zcfs_backing_ids)" 1
	exec 7<&- 8<&-
	no_ids_are_left
	no_data_came
}

test_copies_inside_the_mount_are_served_by_zcfs() {
	mount_passthrough rw --copy=fixed
	random_file "$BACKING/f" 3000001
	copy_range "$MNT/f" "$MNT/copy"
	cmp "$MNT/f" "$MNT/copy"
	cmp "$BACKING/f" "$BACKING/copy"
	same "$(travelled copy fixed)" 3000001
	no_data_came
	no_ids_are_left
}

test_truncating_and_unlinking_an_open_file() {
	mount_passthrough rw -o attr_timeout=60
	random_file "$BACKING/f" 100000
	exec 7<"$MNT/f"
	exec 8>>"$MNT/f"
	truncate -s 5000 "$MNT/f"
	same "$(stat -c %s "$MNT/f")" 5000
	same "$(stat -L -c %s /dev/fd/7)" 5000
	cmp "$BACKING/f" "$MNT/f"
	rm "$MNT/f"
	echo more >&8
	same "$(stat -L -c %s /dev/fd/7)" 5005
	same "$(cat <&7 | wc -c)" 5005
	exec 7<&- 8<&-
	no_ids_are_left
}

# The kernel writes as zcfs would, who may keep set-uid bits.
test_set_uid_bits_go_with_a_write_by_others() {
	local mode

	mount_passthrough rw -o allow_other,attr_timeout=0
	chmod 755 "$BACKING"
	echo text >"$BACKING/f"
	chown "$USER_ID" "$BACKING/f"
	for mode in 4755 2755 6777; do
		chmod "$mode" "$BACKING/f"
		as_user dd if=/dev/zero of="$MNT/f" bs=10 count=1 conv=notrunc status=none
		same "$(stat -c %a "$BACKING/f")" "${mode:1}"
		same "$(stat -c %a "$MNT/f")" "${mode:1}"
	done
	no_data_came
}

# needs: setcap getcap
test_capabilities_go_with_a_write() {
	mount_passthrough rw
	cp "$(type -P true)" "$BACKING/f"
	setcap cap_net_raw+ep "$BACKING/f"
	echo more >>"$MNT/f"
	[[ -z $(getcap "$BACKING/f") ]] || fail "$(getcap "$BACKING/f")"
	no_data_came
}

# needs: prlimit
test_the_limit_of_a_file_size_is_the_callers() {
	mount_passthrough rw
	random_file "$WORK/data" 100000
	! prlimit --fsize=50000 dd if="$WORK/data" of="$MNT/f" bs=4096 status=none 2>"$WORK/dd" ||
		fail 'the limit did not count'
	same "$(stat -c %s "$BACKING/f")" 50000
	no_data_came
}

test_many_files_at_once_and_no_id_is_left() {
	local i fds=() fd

	mount_passthrough rw
	for ((i = 0; i < 200; i++)); do
		exec {fd}>"$MNT/$i"
		fds+=("$fd")
		echo "$i" >&"$fd"
	done
	same "$(counter zcfs_backing_ids)" 200
	for fd in "${fds[@]}"; do
		exec {fd}>&-
	done
	for ((i = 0; i < 200; i++)); do
		same "$(<"$BACKING/$i")" "$i"
	done
	no_ids_are_left
	no_data_came
}

# The oldest open file decides for those who come after it; ids are refused one file, or for good.
test_a_file_that_the_kernel_refuses_is_served() {
	printf '%-63s\n' 'backing_open 1 1 24' >"$WORK/fault" # EMFILE
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
	mount_passthrough rw
	echo text >"$BACKING/f"
	exec 7<>"$MNT/f"
	same "$(opens refused)" 1
	same "$(<"$MNT/f")" text
	echo more >&7
	same "$(<"$MNT/f")" more
	same "$(opens in_use) $(opens passed)" '2 0'
	exec 7<&-
	wait_until 30 are_open 0 || fail 'the file is not released'
	same "$(<"$MNT/f")" more
	same "$(opens passed)" 1
	no_ids_are_left
}

test_a_kernel_that_refuses_all_is_a_downgrade() {
	printf '%-63s\n' 'backing_open 2 1 1' >"$WORK/fault" # EPERM
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
	mount_passthrough rw
	echo text >"$BACKING/f"
	exec 7<"$MNT/f"
	echo other >"$MNT/g"
	status_says 'without kernel passthrough: the kernel refuses a backing file'
	same "$(cat <&7)" text
	same "$(<"$MNT/f")" text # the kernel wants it passed: somebody has it so
	same "$(<"$MNT/g")" other
	same "$(opens passed)" 2
	exec 7<&-
	no_ids_are_left
}

# users: user
test_an_ordinary_user_does_without() {
	zcfs_mount --passthrough=rw
	status_says 'without kernel passthrough:'
	status_says '^passthrough +off'
	random_file "$WORK/data" 100000
	cat "$WORK/data" >"$MNT/f"
	cmp "$WORK/data" "$MNT/f"
}

test_what_excludes_passthrough_is_refused() {
	zcfs_refuses 1 'passthrough and writeback exclude' --passthrough=rw --writeback "$BACKING" "$MNT"
	zcfs_refuses 1 'passthrough and cache=never exclude' -o passthrough=ro,cache=never "$BACKING" "$MNT"
	zcfs_refuses 1 'off, ro or rw' --passthrough=yes "$BACKING" "$MNT"
}

# Two things are the kernel's (zcfs(1)): fcntl(2) does not take O_APPEND off, and root's writes take
# set-uid bits away.
test_data_is_as_on_the_backing_directory() {
	mount_passthrough rw
	check_data "$NATIVE" "$MNT" -appending_moves_to_the_end -writing_takes_set_id_bits_away \
		-capabilities_go_when_root_writes_and_set_id_bits_stay
	no_ids_are_left
}

test_copies_are_as_on_the_backing_directory() {
	mount_passthrough rw
	check_copy "$NATIVE" "$MNT"
	no_ids_are_left
}

test_files_are_as_on_the_backing_directory() {
	mount_passthrough rw
	check_files "$NATIVE" "$MNT"
	no_ids_are_left
}
