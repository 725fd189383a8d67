# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Bad input and poor surroundings: a clear line and the exit codes of mount.fuse3, or it works with
# what there is, and says so.
#
# native: no

# users: root user
test_missing_arguments_are_told() {
	zcfs_refuses 2 'backing directory is missing'
	zcfs_refuses 2 'mount point is missing' "$BACKING"
	zcfs_refuses 1 'too many arguments' "$BACKING" "$MNT" third
	zcfs_refuses 1 '^[^ ]*: missing argument after .-o.$' "$BACKING" "$MNT" -o
}

# users: root user
test_help_and_version_go_to_stdout() {
	"${RUN_ZCFS[@]}" -h >"$WORK/out" 2>"$WORK/err"
	grep -q '^usage: zcfs' "$WORK/out"
	"${RUN_ZCFS[@]}" --help | cmp - "$WORK/out"
	"${RUN_ZCFS[@]}" -V | grep -q '^zcfs [0-9]'
	same "$(<"$WORK/err")" ''
}

# users: root user
test_a_backing_directory_that_is_not_there_is_told() {
	zcfs_refuses 3 "missing does not exist" "$BACKING/missing" "$MNT"
	: >"$BACKING/file"
	zcfs_refuses 3 "file is not a directory" "$BACKING/file" "$MNT"
	zcfs_refuses 3 "is not a directory" "$BACKING/file/below" "$MNT"
	ln -s missing "$BACKING/dangling"
	zcfs_refuses 3 "does not exist" "$BACKING/dangling" "$MNT"
	ln -s loop "$BACKING/loop"
	zcfs_refuses 3 "symbolic links" "$BACKING/loop" "$MNT"
	zcfs_refuses 3 "" '' "$MNT"
}

# users: root user
test_a_mount_point_that_cannot_be_one_is_told() {
	zcfs_refuses 4 "missing does not exist" "$BACKING" "$MNT/missing"
	: >"$WORK/file"
	zcfs_refuses 4 "file is not a directory" "$BACKING" "$WORK/file"
	zcfs_refuses 4 "" "$BACKING" ''
}

# users: root user
test_a_mount_point_that_is_not_empty_works() {
	echo covered >"$MNT/covered"
	echo text >"$BACKING/f"
	zcfs_mount
	same "$(ls "$MNT")" f
	zcfs_unmount
	same "$(<"$MNT/covered")" covered
}

# users: root user
test_a_second_mount_on_the_same_place_is_refused() {
	mkdir "$WORK/other"
	zcfs_mount
	zcfs_refuses 4 'already a zcfs mount' "$BACKING" "$MNT"
	zcfs_refuses 4 'already a zcfs mount' "$WORK/other" "$MNT/"
	zcfs_unmount
}

# users: root user
test_directories_may_be_given_by_links_and_relative_paths() {
	ln -s "$BACKING" "$WORK/backing"
	ln -s "$MNT" "$WORK/mnt"
	echo text >"$BACKING/f"
	cd "$WORK"
	"${RUN_ZCFS[@]}" backing mnt
	same "$(<"$MNT/f")" text
	same "$(awk -v mnt="$MNT" '$2 == mnt { print $1 }' /proc/mounts)" "$BACKING"
	fusermount3 -u "$MNT"
}

# users: root user
test_directories_with_strange_names_work() {
	local name='a b,c\d "e" %s =ü'

	mkdir "$WORK/$name" "$WORK/mount $name"
	echo text >"$WORK/$name/f"
	"${RUN_ZCFS[@]}" "$WORK/$name" "$WORK/mount $name"
	same "$(<"$WORK/mount $name/f")" text
	same "$(findmnt -nro SOURCE "$WORK/mount $name" | xargs -0 printf '%b' | head -1)" "$WORK/$name"
	fusermount3 -u "$WORK/mount $name"
}

# users: root user
test_a_mount_point_inside_the_backing_directory_works() {
	mkdir -p "$BACKING/a/mnt"
	echo below >"$BACKING/a/mnt/below"
	echo text >"$BACKING/a/f"
	MNT=$BACKING/a/mnt
	zcfs_mount
	same "$(cd "$MNT" && timeout 20 ls -R | grep -c mnt)" 2 # its name, and the line over its content
	same "$(timeout 20 cat "$MNT/a/f")" text
	same "$(timeout 20 cat "$MNT/a/mnt/below")" below
	timeout 20 find "$MNT" -ls >/dev/null
	timeout 20 cp -r "$MNT/a" "$MNT/b"
	zcfs_unmount
	zcfs_mount --passthrough=ro -o noatime
	same "$(timeout 20 cat "$MNT/a/f")" text
	zcfs_unmount
}

# users: root user
test_a_mount_point_that_is_the_backing_directory_works() {
	echo text >"$BACKING/f"
	MNT=$BACKING
	zcfs_mount
	same "$(timeout 20 cat "$MNT/f")" text
	timeout 20 cp "$MNT/f" "$MNT/g"
	same "$(timeout 20 ls "$MNT")" $'f\ng'
	zcfs_unmount
	zcfs_mount --passthrough=ro -o noatime
	same "$(timeout 20 cat "$MNT/f")" text
	zcfs_unmount
	same "$(<"$BACKING/g")" text
}

# users: root user
test_a_backing_directory_inside_the_mount_point_works() {
	mkdir "$MNT/backing"
	BACKING=$MNT/backing
	echo text >"$BACKING/f"
	zcfs_mount
	same "$(timeout 20 ls "$MNT")" f
	timeout 20 cp "$MNT/f" "$MNT/g"
	zcfs_unmount
	same "$(<"$BACKING/g")" text
}

# users: root user
test_unknown_options_are_refused() {
	local option

	for option in -onope -o,nope=1 --nope --nope=1 -x --io --threads -ocache -ofsname -ouid=5; do
		zcfs_refuses 1 'unknown option|needs a value' "$option" "$BACKING" "$MNT"
	done
}

# users: root user
test_nonsense_values_are_refused() {
	local option

	for option in io=maybe io= cache=1 locks=all threads=0 threads=65 threads=-1 threads=1.5 \
		threads=99999999999999999999 threads=0x10 buffer_size=0 buffer_size=4095 buffer_size=5000 \
		buffer_size=2M buffer_size=1MM buffer_size=K buffer_size=-4K buffer_size=4Q \
		buffer_size=18446744073709551616 buffer_size=99999999999999G copy_threads=0 \
		copy_buffers=0 copy_buffers=33 copy_buffer_size=1 copy_max=0 copy_max=3G \
		attr_timeout=-1 attr_timeout=nan attr_timeout=inf attr_timeout=1e9 attr_timeout= \
		entry_timeout=x negative_timeout=. control= control=a/b control=.. writeback=maybe; do
		zcfs_refuses 1 "^zcfs: .*${option%%=*}" "--$option" "$BACKING" "$MNT"
		zcfs_refuses 1 "^zcfs: .*${option%%=*}" -o "$option" "$BACKING" "$MNT"
	done
}

# users: root user
test_sensible_values_are_taken() {
	zcfs_mount --io=plain --cache=always --threads=3 --buffer_size=64k --copy_threads=1 \
		--copy_buffers=2 --copy_buffer_size=128K -o copy_max=1M,attr_timeout=0.5,entry_timeout=2 \
		-o negative_timeout=.25,locks=forward,control=.zcfs,writeback=yes,ro,nosuid,noatime
	status_says '^io +plain'
	status_says '^cache +always, writeback, attributes 0.5 s, entries 2 s, negative 0.25 s'
	status_says '^locks +forward'
	status_says '^threads +3 request workers and 1 copiers'
	fails_with 'Read-only' touch "$MNT/f"
	findmnt -no OPTIONS "$MNT" | grep -q noatime
}

test_without_the_device_it_says_so() {
	# shellcheck disable=SC2016
	under=(unshare -m bash -c
		'mkdir "$0/dev" && mount --bind /dev "$0/dev" && mount -t tmpfs none /dev &&
			touch /dev/null && mount --bind "$0/dev/null" /dev/null && exec "$@"' "$WORK")
	zcfs_refuses 4 '/dev/fuse is missing.*modprobe' "$BACKING" "$MNT"
}

test_without_permission_for_the_device_it_says_so() {
	chmod 600 /dev/fuse
	chown -R "$USER_ID" "$BACKING" "$MNT" "$WORK"
	under=(setpriv "--reuid=$USER_ID" "--regid=$USER_ID" --clear-groups)
	zcfs_refuses 4 'no permission to open /dev/fuse' "$BACKING" "$MNT"
}

test_without_fusermount3_users_are_told() {
	chown -R "$USER_ID" "$BACKING" "$MNT" "$WORK"
	# shellcheck disable=SC2016
	under=(unshare -m bash -c
		'mount --bind /dev/null "$(realpath "$(command -v fusermount3)")" && exec "$@"' -
		setpriv "--reuid=$USER_ID" "--regid=$USER_ID" --clear-groups)
	zcfs_refuses 4 'fusermount3, which is missing: install' "$BACKING" "$MNT"
}

# users: user
test_without_permission_for_the_directories_it_says_so() {
	mkdir "$WORK/closed" "$WORK/closed/inner"
	chmod 0 "$WORK/closed"
	zcfs_refuses 3 'no permission' "$WORK/closed/inner" "$MNT"
	zcfs_refuses 3 'no permission' "$WORK/closed" "$MNT"
	zcfs_refuses 4 'permission' "$BACKING" "$WORK/closed/inner"
	zcfs_refuses 4 '' "$BACKING" /usr # not his
	chmod 700 "$WORK/closed"
}

# users: user
test_allow_other_needs_the_leave_of_fuse_conf() {
	grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null && skip 'fuse.conf allows it'
	zcfs_refuses 4 'user_allow_other' -o allow_other "$BACKING" "$MNT"
}

# Works without io_uring, and says so.
check_plain_mount() { # WHY
	random_file "$BACKING/f" 3000000
	zcfs_mount
	cp "$MNT/f" "$MNT/g"
	dd if="$MNT/f" of="$MNT/h" bs=64K status=none
	cmp "$BACKING/f" "$BACKING/g"
	cmp "$BACKING/f" "$BACKING/h"
	status_says "$1"
	same "$(travelled read fixed) $(travelled write fixed) $(travelled copy fixed)" '0 0 0'
	at_least "$(travelled copy plain)" 3000000 'bytes copied'
	same "$(grep -cE "$1" "$WORK/zcfs.log")" 1
	zcfs_unmount
}

needs_sysctl() {
	[[ -w /proc/sys/kernel/io_uring_disabled ]] || skip 'no kernel.io_uring_disabled'
}

test_with_io_uring_disabled_by_sysctl_it_works_and_says_so() {
	needs_sysctl
	echo 2 >/proc/sys/kernel/io_uring_disabled
	check_plain_mount 'io_uring_disabled'
	zcfs_refuses 3 'io_uring' --io=fixed "$BACKING" "$MNT"
}

test_with_io_uring_forbidden_by_seccomp_it_works_and_says_so() {
	under=(no_io_uring)
	check_plain_mount 'io_uring'
	zcfs_refuses 3 'io=fixed' --io=fixed "$BACKING" "$MNT"
}

test_with_io_uring_forbidden_for_users_it_works_for_users() {
	chown -R "$USER_ID" "$BACKING" "$MNT" "$WORK"
	under=(no_io_uring setpriv "--reuid=$USER_ID" "--regid=$USER_ID" --clear-groups)
	"${under[@]}" "${RUN_ZCFS[@]}" "$BACKING" "$MNT" 2>"$WORK/said"
	grep -q io_uring "$WORK/said"
	as_user tee "$MNT/f" <<<text >/dev/null
	as_user cp "$MNT/f" "$MNT/g"
	same "$(<"$BACKING/g")" text
	as_user fusermount3 -u "$MNT"
}

# users: user
test_with_64_KiB_of_locked_memory_it_works_and_says_so() {
	local before

	random_file "$BACKING/f" 3000000
	under=(prlimit --memlock=65536)
	zcfs_mount
	cp "$MNT/f" "$MNT/g"
	dd if="$MNT/f" of="$MNT/h" bs=64K status=none
	cmp "$BACKING/f" "$BACKING/g"
	cmp "$BACKING/f" "$BACKING/h"
	status_says 'MEMLOCK'
	grep -q MEMLOCK "$WORK/zcfs.log"
	before=$(counter 'zcfs_pool_bytes{registered="yes"}')
	at_most "$before" 65536 'bytes registered'
	note "$before bytes registered; fixed: $(travelled copy fixed) of 3000000"
	zcfs_unmount
	zcfs_refuses 3 'io=fixed' --io=fixed "$BACKING" "$MNT"
}

# users: user
test_with_small_buffers_64_KiB_of_locked_memory_are_put_to_use() {
	random_file "$BACKING/f" 300000
	under=(prlimit --memlock=65536)
	zcfs_mount --buffer_size=4K --threads=1 --copy_threads=1 --copy_buffers=2 --copy_buffer_size=4K
	dd if="$MNT/f" of="$MNT/g" bs=64K status=none
	cmp "$BACKING/f" "$BACKING/g"
	at_least "$(travelled read fixed)" 300000 'bytes read by READ_FIXED'
}

# users: root user
test_with_64_descriptors_it_works() {
	under=(prlimit --nofile=64)
	zcfs_mount
	cp -r /usr/include/linux "$MNT/tree"
	cp -r "$MNT/tree" "$MNT/copy"
	diff -r /usr/include/linux "$BACKING/copy"
	ls -lR "$MNT" >/dev/null
	rm -r "$MNT/tree" "$MNT/copy"
	zcfs_unmount
}

# users: root user
test_with_16_descriptors_it_works_or_says_why_not() {
	under=(prlimit --nofile=16)
	zcfs_start
	wait_until 60 is_mounted_or_gone
	if is_mounted "$MNT"; then
		ls "$MNT" >/dev/null || true
		zcfs_unmount
		return
	fi
	zcfs_ended 3
	grep -q 'open files' "$WORK/zcfs.log"
}

make_image() { # SIZE: mounts it at $BACKING
	truncate -s "$1" "$WORK/image"
	mkfs.ext4 -q -F "$WORK/image"
	mount -o loop "$WORK/image" "$BACKING"
	rmdir "$BACKING/lost+found"
}

test_a_read_only_backing_filesystem_is_told_to_the_caller() {
	make_image 64M
	echo text >"$BACKING/f"
	mkdir "$BACKING/d"
	mount -o remount,ro "$BACKING"
	zcfs_mount
	same "$(<"$MNT/f")" text
	fails_with 'Read-only file system' touch "$MNT/new"
	fails_with 'Read-only file system' mkdir "$MNT/new"
	fails_with 'Read-only file system' rm "$MNT/f"
	fails_with 'Read-only file system' rmdir "$MNT/d"
	fails_with 'Read-only file system' mv "$MNT/f" "$MNT/g"
	fails_with 'Read-only file system' ln "$MNT/f" "$MNT/g"
	fails_with 'Read-only file system' ln -s f "$MNT/g"
	fails_with 'Read-only file system' chmod 600 "$MNT/f"
	fails_with 'Read-only file system' truncate -s 0 "$MNT/f"
	fails_with 'Read-only file system' cp "$MNT/f" "$MNT/g"
	fails_with 'Read-only file system' setfattr -n user.a -v b "$MNT/f"
	fails_with 'Read-only file system' dd if=/dev/zero of="$MNT/f" count=1 conv=notrunc
	zcfs_unmount
	umount "$BACKING"
}

# A removed file gives its room back when the kernel has told zcfs that nobody uses it any more, which
# it does not wait for.
has_room() { # MIB
	(($(stat -f -c '%a * %S' "$BACKING") >> 20 >= $1))
}

test_a_full_backing_filesystem_is_told_to_the_caller() {
	local io

	make_image 64M
	random_file "$BACKING/source" 20M
	random_file "$WORK/source" 60M
	for io in auto plain; do
		zcfs_mount "--io=$io"
		fails_with 'No space left' cp "$WORK/source" "$MNT/to"
		cmp -n "$(stat -c %s "$BACKING/to")" "$BACKING/to" "$WORK/source"
		# No room for the copy either.
		fails_with 'No space left' cp "$MNT/source" "$MNT/copy"
		cmp -n "$(stat -c %s "$BACKING/copy")" "$BACKING/copy" "$BACKING/source"
		fails_with 'No space left' fallocate -l 50M "$MNT/allocated"
		fails_with 'No space left' dd if="$WORK/source" of="$MNT/direct" bs=1M oflag=direct
		# And it lives.
		rm "$MNT/to" "$MNT/copy" "$MNT/allocated" "$MNT/direct"
		wait_until 60 has_room 25
		cp "$MNT/source" "$MNT/copy"
		cmp "$BACKING/source" "$BACKING/copy"
		rm "$MNT/copy"
		zcfs_unmount
	done
	umount "$BACKING"
}

test_a_full_backing_filesystem_fails_fsync_and_close_with_writeback() {
	make_image 64M
	random_file "$WORK/source" 60M
	zcfs_mount -o writeback
	fails_with 'No space left|Input/output error' dd if="$WORK/source" of="$MNT/to" bs=1M conv=fsync
	rm "$MNT/to"
	wait_until 60 has_room 25
	# Without fsync(2) it is close(2) that tells.
	fails_with 'No space left|Input/output error' dd if="$WORK/source" of="$MNT/to" bs=1M
	rm "$MNT/to"
	wait_until 60 has_room 25
	echo text >"$MNT/f"
	zcfs_unmount
	same "$(<"$BACKING/f")" text
	umount "$BACKING"
}

test_without_proc_it_says_so() {
	[[ $SANITIZER == none ]] || return 0 # they need /proc themselves
	# shellcheck disable=SC2016
	under=(unshare -m bash -c 'mount -t tmpfs none /proc && exec "$@"' -)
	zcfs_refuses 3 '/proc' "$BACKING" "$MNT"
}

# users: root user
test_a_closed_stdin_stdout_and_stderr_are_no_harm() {
	echo text >"$BACKING/f"
	"${RUN_ZCFS[@]}" "$BACKING" "$MNT" <&- >&- 2>&-
	same "$(<"$MNT/f")" text
	echo new >"$MNT/f"
	same "$(<"$BACKING/f")" new
	fusermount3 -u "$MNT"
}
