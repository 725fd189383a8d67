# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Whose files they are, and who may do what.

as_other() {
	setpriv --reuid=12345 --regid=23456 --groups=34567 -- "$@"
}

open_to_all() {
	chmod 1777 "$BACKING"
}

test_new_files_belong_to_the_caller() {
	open_to_all
	zcfs_mount -o allow_other
	as_other touch "$MNT/file"
	as_other mkdir "$MNT/dir"
	as_other ln -s file "$MNT/link"
	as_other mkfifo "$MNT/fifo"
	as_other cp /bin/true "$MNT/copy"
	same "$(stat -c %u:%g "$BACKING"/*)" "$(printf '12345:23456\n%.0s' 1 2 3 4 5)"
	touch "$MNT/of-root"
	same "$(stat -c %u:%g "$BACKING/of-root")" 0:0
}

test_callers_by_turns_get_their_own_files() {
	local i

	open_to_all
	zcfs_mount -o allow_other,threads=1
	for i in 1 2 3 4 5; do
		setpriv "--reuid=$i" "--regid=$((i + 100))" --clear-groups touch "$MNT/$i"
		touch "$MNT/root-$i"
	done
	same "$(stat -c %u:%g "$BACKING"/[1-5] | tr '\n' ' ')" '1:101 2:102 3:103 4:104 5:105 '
	same "$(stat -c %u:%g "$BACKING"/root-* | sort -u)" 0:0
}

test_callers_at_once_get_their_own_files() {
	local i jobs=()

	open_to_all
	zcfs_mount -o allow_other
	for i in 1 2 3 4 5 6 7 8; do
		# shellcheck disable=SC2016
		setpriv "--reuid=$i" "--regid=$i" --clear-groups bash -c '
			for ((n = 0; n < 100; n++)); do : >"$0-$n"; mkdir "$0-dir-$n"; done' "$MNT/$i" &
		jobs+=($!)
	done
	wait "${jobs[@]}"
	for i in 1 2 3 4 5 6 7 8; do
		same "$(stat -c %u:%g "$BACKING/$i"-* | sort -u)" "$i:$i"
		same "$(find "$BACKING" -name "$i-*" | wc -l)" 200
	done
}

test_the_umask_is_honoured() {
	open_to_all
	zcfs_mount -o allow_other
	(umask 077 && touch "$MNT/a" && mkdir "$MNT/b" && as_other touch "$MNT/c")
	(umask 0 && touch "$MNT/d" && mkdir "$MNT/e" && as_other touch "$MNT/f")
	same "$(stat -c %a "$BACKING"/* | tr '\n' ' ')" '600 700 600 666 777 666 '
}

# needs: setfacl getfacl
# filesystems: ext4 xfs btrfs
test_default_acls_are_inherited() {
	zcfs_mount -o allow_other
	mkdir "$MNT/d"
	setfacl -d -m u:12345:rwx,g::r-x,o::- "$MNT/d"
	(umask 077 && touch "$MNT/d/file" && mkdir "$MNT/d/dir")
	same "$(getfacl -c --omit-header "$MNT/d/file")" "$(getfacl -c --omit-header "$BACKING/d/file")"
	getfacl -c "$BACKING/d/file" | grep -q '^user:12345:rwx'
	getfacl -c "$BACKING/d/dir" | grep -q '^default:user:12345:rwx'
	# As the backing filesystem does it: the umask does not count where there is a default ACL.
	(umask 077 && touch "$BACKING/d/native" && mkdir "$BACKING/d/native-dir")
	same "$(getfacl -c --omit-header "$BACKING/d/file")" \
		"$(getfacl -c --omit-header "$BACKING/d/native")"
	same "$(stat -c %a "$BACKING/d/file" "$BACKING/d/dir")" \
		"$(stat -c %a "$BACKING/d/native" "$BACKING/d/native-dir")"
}

# needs: setfacl
test_acls_give_access() {
	echo text >"$BACKING/f"
	chmod 600 "$BACKING/f"
	zcfs_mount -o allow_other
	fails_with 'Permission denied' as_other cat "$MNT/f"
	setfacl -m u:12345:r "$MNT/f"
	same "$(as_other cat "$MNT/f")" text
	fails_with 'Permission denied' as_other tee "$MNT/f" </dev/null
}

# filesystems: ext4 xfs btrfs
test_set_gid_directories_hand_their_group_down() {
	open_to_all
	zcfs_mount -o allow_other
	mkdir "$MNT/d"
	chown :777 "$MNT/d"
	chmod 3777 "$MNT/d"
	touch "$MNT/d/file"
	mkdir "$MNT/d/dir"
	as_other touch "$MNT/d/other"
	as_other mkdir "$MNT/d/otherdir"
	same "$(stat -c '%n %u:%g %a' "$BACKING"/d/* | sed "s:$BACKING/d/::")" \
		$'dir 0:777 2755\nfile 0:777 644\nother 12345:777 644\notherdir 12345:777 2755'
}

test_modes_keep_others_out() {
	echo text >"$BACKING/f"
	mkdir "$BACKING/d"
	echo text >"$BACKING/d/f"
	chmod 600 "$BACKING/f"
	chmod 700 "$BACKING/d"
	chmod 755 "$BACKING"
	zcfs_mount -o allow_other
	fails_with 'Permission denied' as_other cat "$MNT/f"
	fails_with 'Permission denied' as_other ls "$MNT/d"
	fails_with 'Permission denied' as_other cat "$MNT/d/f"
	fails_with 'Permission denied' as_other touch "$MNT/new"
	fails_with 'Permission denied' as_other mkdir "$MNT/new"
	fails_with 'Permission denied' as_other rm -f "$MNT/f"
	fails_with 'Permission denied' as_other mv "$MNT/f" "$MNT/g"
	fails_with 'not permitted' as_other chmod 777 "$MNT/f"
	fails_with 'not permitted' as_other chown 12345 "$MNT/f"
	same "$(ls "$BACKING")" $'d\nf'
}

test_sticky_directories_protect_their_files() {
	open_to_all
	zcfs_mount -o allow_other
	touch "$MNT/f"
	as_other touch "$MNT/g"
	fails_with 'not permitted' as_other rm -f "$MNT/f"
	as_other rm "$MNT/g"
}

test_supplementary_groups_count() {
	echo text >"$BACKING/f"
	chown 0:34567 "$BACKING/f"
	chmod 640 "$BACKING/f"
	mkdir "$BACKING/d"
	chown 0:34567 "$BACKING/d"
	chmod 770 "$BACKING/d"
	zcfs_mount -o allow_other
	same "$(as_other cat "$MNT/f")" text
	as_other touch "$MNT/d/new"
	# To a group of one's own, and to no other.
	as_other chgrp 34567 "$MNT/d/new"
	fails_with 'not permitted' as_other chgrp 1 "$MNT/d/new"
}

test_a_writer_takes_set_id_bits_away() {
	open_to_all
	cp /bin/true "$BACKING/f"
	chmod 6777 "$BACKING/f"
	zcfs_mount -o allow_other
	as_other dd if=/dev/zero of="$MNT/f" bs=1 count=1 conv=notrunc status=none
	same "$(stat -c %a "$BACKING/f")" 777
	chmod 6777 "$BACKING/f"
	as_other truncate -s 10 "$MNT/f"
	same "$(stat -c %a "$BACKING/f")" 777
	chmod 6777 "$MNT/f"
	as_other copy_range -n 10 -o 100 "$MNT/f" "$MNT/f" >/dev/null
	same "$(stat -c %a "$BACKING/f")" 777
}

# stat(1) asks for the mode alone, which the kernel has.
test_set_id_bits_that_a_write_takes_are_gone_at_once() {
	open_to_all
	zcfs_mount -o allow_other,cache=never,attr_timeout=60
	touch "$MNT/f"
	chmod 6777 "$MNT/f"
	same "$(stat -c %a "$MNT/f")" 6777
	as_other dd if=/dev/zero of="$MNT/f" bs=1 count=1 conv=notrunc status=none
	same "$(stat -c %a "$MNT/f")" 777
}

# needs: setcap getcap
test_a_writer_takes_file_capabilities_away() {
	open_to_all
	cp /bin/true "$BACKING/f"
	chmod 777 "$BACKING/f"
	setcap cap_net_raw+ep "$BACKING/f"
	zcfs_mount -o allow_other
	getcap "$MNT/f" | grep -q cap_net_raw
	as_other dd if=/dev/zero of="$MNT/f" bs=1 count=1 conv=notrunc status=none
	same "$(getcap "$BACKING/f")" ''
}

# What a command leaves of a program's capabilities, owner, and bits. The command runs in the directory,
# about "f" (and "g", a file of the same owner).
what_is_left_after() { # DIRECTORY COMMAND...
	local directory=$1

	shift
	rm -f "$directory/f" "$directory/g"
	cp /bin/true "$directory/f"
	cp /bin/true "$directory/g"
	chown 0:34567 "$directory/f"
	chmod 6777 "$directory/f"
	setcap cap_net_raw+ep "$directory/f"
	(cd "$directory" && "$@") >/dev/null 2>&1
	echo "$*: $? $(getcap "$directory/f" | grep -o 'cap_.*') $(stat -c '%a %u:%g %s' "$directory/f")"
}

# needs: setcap getcap
test_what_takes_capabilities_and_set_id_bits_away() {
	local command commands=(
		'truncate -s 100 f' 'truncate -s +0 f' 'sh -c ":>f"' 'sh -c "echo >>f"' 'fallocate -l 1M f'
		'fallocate -p -o 0 -l 4096 f' 'copy_range -n 10 g f' 'chown 0 f' 'chown :34567 f' 'chgrp 0 f'
		'chmod u+s f' 'touch f' 'ln f h' 'mv f f' 'dd if=g of=f conv=notrunc bs=100 count=1'
		'dd if=g of=f conv=notrunc bs=4096 count=1 oflag=direct' 'setfattr -n user.x -v 1 f'
	)

	open_to_all
	zcfs_mount -o allow_other
	chmod 777 "$NATIVE"
	for command in "${commands[@]}"; do
		for who in root_itself as_other; do
			eval "set -- $who $command"
			same "$(what_is_left_after "$MNT" "$@")" "$(what_is_left_after "$NATIVE" "$@")"
			rm -f "$MNT/h" "$NATIVE/h"
		done
	done
}

root_itself() {
	"$@"
}

# btrfs lists them to everybody, the others to root.
# filesystems: ext4 xfs btrfs
# needs: setfattr getfattr
test_trusted_attributes_are_listed_to_whom_they_are_natively() {
	local directory names=()

	open_to_all
	zcfs_mount -o allow_other
	for directory in "$NATIVE" "$MNT"; do
		chmod 755 "$directory"
		: >"$directory/f"
		setfattr -n trusted.one -v 1 "$directory/f"
		setfattr -n user.two -v 2 "$directory/f"
		names+=("$(cd "$directory" && as_other getfattr -m - f && getfattr -m - f)")
	done
	same "${names[1]}" "${names[0]}"
}

test_without_allow_other_the_mount_is_closed_to_others() {
	open_to_all
	native && return
	zcfs_mount
	fails_with 'Permission denied' as_other ls "$MNT"
	fails_with 'Permission denied' as_other stat "$MNT/."
	fails_with 'Permission denied' as_other touch "$MNT/f"
}

# native: no
test_the_mount_of_a_user_is_closed_to_others() {
	chown -R "$USER_ID" "$BACKING" "$MNT" "$WORK"
	under=(setpriv "--reuid=$USER_ID" "--regid=$USER_ID" --clear-groups)
	zcfs_start
	wait_until 60 is_mounted_or_gone
	as_user touch "$MNT/f"
	fails_with 'Permission denied' as_other ls "$MNT"
	fails_with 'Permission denied' ls "$MNT" # root neither
	same "$(stat -c %u "$BACKING/f")" "$USER_ID"
	as_user fusermount3 -u "$MNT"
	zcfs_ended
}

# native: no
test_a_user_cannot_unmount_what_is_not_his() {
	zcfs_mount -o allow_other
	fails_with '' as_other fusermount3 -u "$MNT"
	is_mounted "$MNT"
}

# native: no
test_nosuid_and_nodev_are_the_default_for_users() {
	chown -R "$USER_ID" "$BACKING" "$MNT" "$WORK"
	under=(setpriv "--reuid=$USER_ID" "--regid=$USER_ID" --clear-groups)
	zcfs_start
	wait_until 60 is_mounted_or_gone
	findmnt -no OPTIONS "$MNT" | grep -q nosuid
	findmnt -no OPTIONS "$MNT" | grep -q nodev
	as_user fusermount3 -u "$MNT"
	zcfs_ended
}
