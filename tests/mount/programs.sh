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

# wants: git
test_git_clones_commits_and_collects() {
	local i

	zcfs_mount
	export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a
	export GIT_COMMITTER_EMAIL=a@b
	git init -q -b main "$MNT/a"
	for i in 1 2 3 4 5 6; do
		random_file "$MNT/a/$i" 100000
		git -C "$MNT/a" add .
		git -C "$MNT/a" commit -qm "$i"
	done
	git clone -q --no-local "$MNT/a" "$MNT/b"
	git clone -q "$MNT/a" "$MNT/hard-links"
	git -C "$MNT/b" gc -q --aggressive --prune=now
	git -C "$MNT/b" fsck --strict
	git -C "$MNT/hard-links" fsck --strict
	same "$(git -C "$MNT/b" status --porcelain)" ''
	same "$(git -C "$MNT/b" rev-list --count main)" 6
	diff -r --exclude=.git "$MNT/a" "$MNT/b"
}

# What rsync would still have to do.
differences() { # FROM TO
	rsync -aHAXn --checksum --delete --itemize-changes "$1/" "$2/"
}

# wants: rsync setfacl setfattr
# filesystems: ext4 xfs btrfs
test_rsync_takes_everything_along() {
	mkdir -p "$NATIVE/from/d"
	random_file "$NATIVE/from/d/file" 300000
	ln "$NATIVE/from/d/file" "$NATIVE/from/linked"
	ln -s d/file "$NATIVE/from/link"
	mkfifo "$NATIVE/from/fifo"
	mknod "$NATIVE/from/device" c 1 3
	truncate -s 8M "$NATIVE/from/sparse"
	printf x | dd of="$NATIVE/from/sparse" bs=1 seek=4M conv=notrunc status=none
	setfattr -n user.name -v value "$NATIVE/from/d/file"
	setfattr -n trusted.name -v value "$NATIVE/from/d"
	setfacl -m u:12345:rw "$NATIVE/from/d/file"
	setfacl -d -m g:12345:rx "$NATIVE/from/d"
	chown 12345:23456 "$NATIVE/from/linked"
	chmod 6755 "$NATIVE/from/linked"
	touch -d '2001-02-03 04:05:06.789012345' "$NATIVE/from/d/file" "$NATIVE/from/d"
	zcfs_mount
	rsync -aHAXS "$NATIVE/from/" "$MNT/a/"
	rsync -aHAXS "$MNT/a/" "$MNT/b/"
	same "$(differences "$NATIVE/from" "$MNT/b")" ''
	same "$(differences "$MNT/b" "$BACKING/a")" ''
	same "$(stat -c %h "$BACKING/b/linked")" 2
	at_most "$(bytes_used "$BACKING/b/sparse")" 1000000 'bytes used'
}

make_package() { # VERSION
	local tree=$WORK/package

	rm -rf "$tree"
	mkdir -p "$tree/DEBIAN" "$tree/etc" "$tree/usr/bin" "$tree/usr/share/zcfs-test"
	printf 'Package: zcfs-test\nVersion: %s\nArchitecture: all\nMaintainer: a <a@b>\nDescription: test\n' \
		"$1" >"$tree/DEBIAN/control"
	echo /etc/zcfs-test >"$tree/DEBIAN/conffiles"
	echo setting >"$tree/etc/zcfs-test"
	echo "$1" >"$tree/usr/share/zcfs-test/version"
	ln "$tree/usr/share/zcfs-test/version" "$tree/usr/share/zcfs-test/linked"
	ln -s ../share/zcfs-test/version "$tree/usr/bin/link"
	cp /bin/true "$tree/usr/bin/program"
	chmod 4755 "$tree/usr/bin/program"
	dpkg-deb --root-owner-group -b "$tree" "$MNT/$1.deb" >/dev/null
}

into_the_mount() { # ARGUMENT...
	dpkg --root="$MNT/root" --force-all "$@" >>"$WORK/dpkg.log" 2>&1 || fail "$(tail "$WORK/dpkg.log")"
}

# Into a system of its own below the mount.
# wants: dpkg dpkg-deb
test_dpkg_installs_upgrades_and_purges() {
	zcfs_mount -o suid,dev
	mkdir -p "$MNT/root/var/lib/dpkg/"{info,updates,triggers}
	: >"$MNT/root/var/lib/dpkg/status"
	make_package 1
	make_package 2
	into_the_mount -i "$MNT/1.deb"
	same "$(<"$MNT/root/usr/bin/link")" 1
	into_the_mount -i "$MNT/2.deb"
	same "$(<"$MNT/root/usr/share/zcfs-test/linked")" 2
	same "$(stat -c '%a %h' "$BACKING/root/usr/bin/program" "$BACKING/root/usr/share/zcfs-test/linked")" \
		$'4755 1\n644 2'
	same "$(dpkg --root="$MNT/root" -V)" ''
	into_the_mount -P zcfs-test
	same "$(find "$BACKING/root" -name '*zcfs-test*' ! -path '*/dpkg/*')" ''
}

# The server runs as an ordinary user, who has a name for the time of the tests; its socket lies on
# the mount too.
as_postgres() { # PROGRAM ARGUMENT...
	as_user "$programs/$1" "${@:2}" >>"$WORK/postgres.log" 2>&1 || fail "$(tail "$WORK/postgres.log")"
}

ask_postgres() { # QUERY
	as_user "$programs/psql" -h "$MNT/pg" -X -A -t -d postgres -c "$1"
}

# wants: pg_lsclusters
# timeout: 240
# slow: yes
test_postgres_keeps_its_books() {
	local programs sums

	programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -1)
	[[ -x $programs/initdb && -x $programs/pgbench ]] || skip_kernel 'no server of postgres'
	zcfs_mount -o allow_other
	mkdir "$MNT/pg"
	chown "$USER_ID:$USER_ID" "$MNT/pg" "$WORK"
	as_postgres initdb -D "$MNT/pg/data" -k -A trust
	as_postgres pg_ctl -D "$MNT/pg/data" -w -t 120 -l "$MNT/pg/log" -o "-k $MNT/pg -h ''" start
	as_postgres pgbench -h "$MNT/pg" -i -s 2 postgres
	as_postgres pgbench -h "$MNT/pg" -c 4 -T 4 postgres
	sums=$(ask_postgres 'select (select sum(abalance) from pgbench_accounts) =
		(select sum(delta) from pgbench_history), (select count(*) > 0 from pgbench_history)')
	same "$sums" 't|t'
	# Once more after a crash: what was committed is there.
	as_postgres pg_ctl -D "$MNT/pg/data" -w -t 120 -m immediate stop
	as_postgres pg_ctl -D "$MNT/pg/data" -w -t 120 -l "$MNT/pg/log" -o "-k $MNT/pg -h ''" start
	same "$(ask_postgres 'select (select sum(tbalance) from pgbench_tellers) =
		(select sum(delta) from pgbench_history)')" t
	as_postgres pg_ctl -D "$MNT/pg/data" -w -t 120 stop
	as_postgres pg_checksums --check -D "$MNT/pg/data"
}

# All at once. Left out are those that are about something else than files of a filesystem, or need
# what FUSE does not have (fiemap, verity).
# wants: stress-ng
# timeout: 180
test_the_filesystem_stressors_find_nothing() {
	zcfs_mount
	mkdir "$MNT/d"
	stress-ng --class filesystem --all 1 --timeout "$(big 6 20)s" --verify --temp-path "$MNT/d" \
		--hdd-bytes 16M --fallocate-bytes 16M --iomix-bytes 16M --copy-file-bytes 128M \
		--exclude bind-mount,binderfs,eventfd,fanotify,ioprio,procfs,fiemap,verity,chdir,dnotify,handle \
		>"$WORK/stress" 2>&1 || fail "$(grep -E 'fail|error|unsuccess' "$WORK/stress" | head -20)"
	same "$(find "$BACKING/d" -mindepth 1)" ''
}
