# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The control directory.
#
# users: root user
# native: no

test_it_is_not_listed_but_there() {
	zcfs_mount
	same "$(ls -A "$MNT")" ''
	same "$(ls -A "$MNT/.zcfs")" $'copies\nstats\nstatus'
	same "$(find "$MNT" | wc -l)" 1
	same "$(stat -c '%A %u %h' "$MNT/.zcfs")" "dr-x------ $(id -u) 2"
	same "$(stat -c '%A %u' "$MNT/.zcfs/stats")" "-r-------- $(id -u)"
	same "$(ls -A "$BACKING")" ''
}

test_rm_r_of_everything_leaves_it_alone() {
	mkdir "$BACKING/d"
	: >"$BACKING/d/f"
	zcfs_mount
	rm -rf "${MNT:?}"/*
	find "$MNT" -mindepth 1 -delete
	[[ -e $MNT/.zcfs/stats ]]
}

test_stats_are_in_the_prometheus_format() {
	zcfs_mount
	echo text >"$MNT/f"
	cp "$MNT/f" "$MNT/g"
	awk '
	/^# HELP zcfs_[a-z_]+ [A-Z].*\.$/ { help[$3] = 1; next }
	/^# TYPE zcfs_[a-z_]+ (counter|gauge)$/ {
		if (!help[$3]) { print "TYPE without HELP: " $0; bad = 1 }
		if ($3 in type) { print "twice: " $0; bad = 1 }
		type[$3] = $4; now = $3
		if (($4 == "counter") != ($3 ~ /_total$/)) { print "name and type: " $0; bad = 1 }
		next
	}
	/^zcfs_[a-z_]+(\{[a-z]+="[a-z0-9_]+"\})? [0-9]+$/ {
		name = $1; sub(/\{.*/, "", name)
		if (name != now) { print "not under its TYPE: " $0; bad = 1 }
		if (seen[$1]++) { print "twice: " $0; bad = 1 }
		next
	}
	{ print "not understood: " $0; bad = 1 }
	END { exit bad }' "$MNT/.zcfs/stats"
}

test_all_counters_that_scripts_rely_on_are_there() {
	local counter

	zcfs_mount
	for counter in 'zcfs_read_bytes_total{path="fixed"}' 'zcfs_read_bytes_total{path="plain"}' \
		'zcfs_write_bytes_total{path="fixed"}' 'zcfs_write_bytes_total{path="plain"}' \
		'zcfs_copy_bytes_total{path="fixed"}' 'zcfs_copy_bytes_total{path="plain"}' \
		'zcfs_copy_bytes_total{path="hole"}' zcfs_copy_requests_total \
		'zcfs_requests_total{op="lookup"}' zcfs_ring_enters_total \
		'zcfs_pool_buffers{state="home"}' 'zcfs_pool_buffers{state="lent"}' \
		'zcfs_pool_buffers{state="kernel"}' 'zcfs_pool_bytes{registered="yes"}' \
		'zcfs_pool_bytes{registered="no"}' zcfs_inodes zcfs_open_files zcfs_open_fds; do
		[[ $(counter "$counter") =~ ^[0-9]+$ ]]
	done
}

test_counters_count() {
	local before

	zcfs_mount
	before=$(counter 'zcfs_requests_total{op="mkdir"}')
	mkdir "$MNT/d"
	same "$(counter 'zcfs_requests_total{op="mkdir"}')" $((before + 1))
	random_file "$WORK/data" 1000000
	before=$(travelled_fixed write)
	dd if="$WORK/data" of="$MNT/f" bs=64K status=none
	same "$(travelled_fixed write)" $((before + 1000000))
	before=$(travelled copy fixed)
	copy_range -i 10 -n 500000 "$MNT/f" "$MNT/g"
	same "$(travelled copy fixed)" $((before + 500000))
}

test_open_files_and_inodes_go_back() {
	zcfs_mount
	exec 5>"$MNT/f"
	at_least "$(counter zcfs_open_files)" 1 'open files'
	exec 5>&-
	rm "$MNT/f"
	wait_until 30 nothing_is_open
	# Of what the mount itself holds no more than that.
	at_most "$(counter zcfs_inodes)" 3 'inodes'
}

# The text is older than its own handle.
nothing_is_open() {
	(($(counter zcfs_open_files) == 0))
}

test_the_status_is_a_page_for_people() {
	zcfs_mount
	status_says "^backing +$BACKING$"
	status_says "^mount point +$MNT$"
	status_says "^transport +$TRANSPORT,"
	status_says '^downgrades'
	status_says '^kernel features'
}

test_nothing_in_it_can_be_changed() {
	zcfs_mount
	fails_with 'denied|not permitted|Read-only' tee "$MNT/.zcfs/stats" </dev/null
	fails_with 'denied|not permitted|Read-only' touch "$MNT/.zcfs/new"
	fails_with 'denied|not permitted|Read-only' mkdir "$MNT/.zcfs/new"
	fails_with 'denied|not permitted|Read-only' rm -f "$MNT/.zcfs/stats"
	fails_with 'denied|not permitted|Read-only|busy|not empty' rmdir "$MNT/.zcfs"
	fails_with 'denied|not permitted|Read-only|busy|cross-device' mv "$MNT/.zcfs" "$MNT/moved"
	fails_with 'denied|not permitted|Read-only|cross-device' mv "$MNT/.zcfs/stats" "$MNT/moved"
	fails_with 'denied|not permitted|Read-only|exists' mkdir "$MNT/.zcfs"
	fails_with 'denied|not permitted|Read-only|cross-device' ln "$MNT/.zcfs/stats" "$MNT/linked"
	fails_with 'denied|not permitted|Read-only' chmod 777 "$MNT/.zcfs/stats"
	fails_with 'denied|not permitted|Read-only' truncate -s 0 "$MNT/.zcfs/stats"
	fails_with 'No such file' cat "$MNT/.zcfs/missing"
	echo text >"$MNT/f"
	fails_with 'denied|not permitted|cannot overwrite' mv -T "$MNT/f" "$MNT/.zcfs"
	fails_with 'denied|not permitted|Read-only|cross-device' mv "$MNT/f" "$MNT/.zcfs/"
	same "$(ls -A "$BACKING")" f
}

test_it_can_be_read_in_any_way() {
	zcfs_mount
	grep -q zcfs_inodes "$MNT/.zcfs/stats"
	dd if="$MNT/.zcfs/stats" of="$WORK/small-pieces" bs=7 status=none
	grep -q zcfs_inodes "$WORK/small-pieces"
	tail -n 1 "$MNT/.zcfs/stats" >"$WORK/end"
	grep -q zcfs_ "$WORK/end"
	cp "$MNT/.zcfs/stats" "$WORK/stats"
	grep -q zcfs_inodes "$WORK/stats"
	cp "$MNT/.zcfs/stats" "$MNT/stats"
	grep -q zcfs_inodes "$BACKING/stats"
	cat "$MNT"/.zcfs/* >/dev/null
}

# users: root
test_only_the_owner_of_the_mount_may_read_it() {
	zcfs_mount -o allow_other
	# Whether or not its name is in the kernel's cache by now.
	fails_with 'Permission denied|No such file' as_user cat "$MNT/.zcfs/stats"
	fails_with 'Permission denied|No such file' as_user ls "$MNT/.zcfs"
	[[ -e $MNT/.zcfs/stats ]]
	fails_with 'Permission denied|No such file' as_user cat "$MNT/.zcfs/stats"
}

test_it_can_have_another_name_or_none() {
	zcfs_mount -o control=control.of.mine
	[[ -e $MNT/control.of.mine/stats && ! -e $MNT/.zcfs ]]
	zcfs_unmount
	zcfs_mount -o control=off
	[[ ! -e $MNT/.zcfs && ! -e $MNT/off ]]
	mkdir "$MNT/.zcfs"
	echo mine >"$MNT/.zcfs/stats"
	same "$(<"$BACKING/.zcfs/stats")" mine
	zcfs_unmount
	# With a control directory it hides one of the backing directory.
	zcfs_mount
	grep -q zcfs_inodes "$MNT/.zcfs/stats"
	zcfs_unmount
	same "$(<"$BACKING/.zcfs/stats")" mine
}

# --- zcfs status: the same for people and for programs ---

status_of() {
	"${RUN_ZCFS[@]}" status "$@"
}

# status_ends STATUS TEXT ARGUMENT...: zcfs status ends with that code and says TEXT.
status_ends() {
	local expected=$1 text=$2 status=0 output

	shift 2
	output=$(timeout 30 "${RUN_ZCFS[@]}" status "$@" 2>&1) || status=$?
	((status == expected)) || fail "zcfs status $*: ended with $status: $output"
	[[ $output =~ $text ]] || fail "zcfs status $*: should say '$text', says: $output"
}

test_zcfs_status_shows_totals() {
	zcfs_mount
	random_file "$MNT/f" 1048576
	copy_range "$MNT/f" "$MNT/g"
	status_of "$MNT" >"$WORK/shown"
	head -1 "$WORK/shown" | grep -qF "$MNT: $BACKING, running "
	grep -qE '^written    1\.0 MiB    ' "$WORK/shown"
	grep -qE '^copied     1\.0 MiB    ' "$WORK/shown"
	grep -qE '^requests   [0-9]+ +.*write [0-9]+' "$WORK/shown"
	grep -qE '^copies     0 in flight, 0 waiting$' "$WORK/shown"
	status_of --json "$MNT" >"$WORK/json"
	same "$(wc -l <"$WORK/json")" 1
	grep -qF "{\"mount_point\":\"$MNT\",\"backing\":\"$BACKING\"," "$WORK/json"
	grep -qF '"copies":[],"waiting":0}' "$WORK/json"
}

test_zcfs_status_says_what_is_wrong() {
	zcfs_mount -o control=mine
	mkdir "$MNT/dir"
	status_ends 3 'not the mount point of a zcfs' "$WORK"
	status_ends 3 'No such file' "$WORK/missing"
	status_ends 3 '\.zcfs does not exist.*--control' "$MNT"
	status_ends 0 '^[^ ]+: ' --control=mine "$MNT"
	status_ends 3 'does not exist.*the mount point itself' --control=mine "$MNT/dir"
	status_ends 1 'not a name' --control=../mine "$MNT"
	status_ends 1 'unrecognized option' --wach "$MNT"
	status_ends 1 'one mount point at a time' "$MNT" "$MNT"
	status_ends 2 'mount point is missing'
	# A directory that looks like one.
	mkdir "$WORK/.zcfs"
	: >"$WORK/.zcfs/status"
	status_ends 3 'not the mount point of a zcfs' "$WORK"
	# Who still means a backing directory of this name.
	mkdir "$WORK/status"
	(cd "$WORK" && zcfs_refuses 4 'missing' ./status missing)
}

# users: root
test_zcfs_status_is_for_the_owner_of_the_mount() {
	zcfs_mount -o allow_other
	status_ends 0 "^$MNT: " "$MNT"
	as_user "${RUN_ZCFS[@]}" status "$MNT" >"$WORK/said" 2>&1 && fail 'a stranger sees it'
	grep -q 'who mounted it' "$WORK/said"
}

test_zcfs_status_tells_a_mount_that_nobody_serves() {
	zcfs_mount
	kill -KILL "$zcfs_pid"
	wait_until 60 is_gone "$zcfs_pid"
	wait "$zcfs_pid" 2>/dev/null || true
	mounted=0
	status_ends 5 'nobody serves this mount' "$MNT"
	fusermount3 -u "$MNT"
}

watched_twice() {
	(($(grep -c '"mount_point"' "$WORK/watched") >= 2))
}

test_zcfs_status_watches_until_the_mount_ends() {
	local watcher

	zcfs_mount
	status_of -w --json "$MNT" >"$WORK/watched" 2>"$WORK/watch.log" &
	watcher=$!
	wait_until 30 watched_twice || fail 'nothing is shown again'
	# It may just be looking.
	wait_until 60 fusermount3 -u "$MNT" 2>/dev/null || fail 'watching keeps the mount busy'
	zcfs_ended
	wait_until 30 is_gone "$watcher" || fail 'zcfs status -w does not end with the mount'
	wait "$watcher"
	grep -q "$MNT is unmounted" "$WORK/watch.log"
}

is_held_up() {
	status_of "$MNT" >"$WORK/shown"
	grep -q '^pid [0-9].* -> ' "$WORK/shown" && ! grep -q '^pid [0-9]*    0 %' "$WORK/shown"
}

# A copy that stands still in the middle, of files with names that would like to be more than names.
test_zcfs_status_shows_a_copy_in_flight() {
	local name=$'evil\n\033[31m"\\ -> \377' copier

	printf '%-63s\n' 'pwrite 20 1 -1' >"$WORK/fault"
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
	random_file "$BACKING/$name" 4000000
	zcfs_mount -o io=plain,copy_buffer_size=64K
	copy_range "$MNT/$name" "$MNT/copy" &
	copier=$!
	wait_until 30 is_held_up || fail "no copy is shown: $(<"$WORK/shown")"
	grep -qE "^copies +1 in flight, 0 waiting$" "$WORK/shown"
	grep -qE '^pid [0-9]+ +[0-9]+ %  .*  plain  .* of 3\.8 MiB  .*/s  ' "$WORK/shown"
	grep -qF 'evil\n\033[31m"\\ -> \377 -> copy' "$WORK/shown"
	same "$(tr -d '\n -~' <"$WORK/shown")" '' # printable ASCII
	status_of --json "$MNT" >"$WORK/json"
	same "$(tr -d '\n -~' <"$WORK/json")" ''
	grep -q '"path":"plain","done":[1-9][0-9]*,"total":4000000,' "$WORK/json"
	if command -v python3 >/dev/null; then check_json "$name"; fi
	printf '%-63s\n' '' | dd of="$WORK/fault" conv=notrunc status=none
	wait "$copier"
	cmp "$BACKING/$name" "$BACKING/copy"
	status_of "$MNT" >"$WORK/shown"
	grep -qE '^copies +0 in flight, 0 waiting$' "$WORK/shown"
}

hold_up() { # CALL NUMBER: until there is another text
	printf '%-63s\n' "$1 $2 1 -1" | dd of="$WORK/fault" conv=notrunc status=none
}

is_done() { # BYTES, of the file of the next test
	status_of --json "$MNT" >"$WORK/json"
	grep -q "\"done\":$1,\"total\":4000000," "$WORK/json"
}

# Nobody who looks at the bar should see where one reply ends and the next request begins.
test_zcfs_status_shows_one_copy_for_one_file() {
	local copier options expected

	random_file "$BACKING/f" 4000000
	printf '%-63s\n' '' >"$WORK/fault"
	under=(env "LD_PRELOAD=$RUN/bin/fault_preload.so" "ZCFS_FAULT_FILE=$WORK/fault")
	for options in '' '-p 300000'; do # in replies of 1 MiB; also asked for in pieces
		hold_up pwrite 20
		expected=$((19 * 65536)) # of the second request
		[[ -z $options ]] || expected=$((3 * 300000 + 4 * 65536)) # five writes each
		zcfs_mount -o io=plain,copy_buffer_size=64K,copy_max=1M
		# shellcheck disable=SC2086 # words
		copy_range $options "$MNT/f" "$MNT/copy" >/dev/null &
		copier=$!
		wait_until 30 is_done "$expected" || fail "not $expected of 4000000 bytes: $(<"$WORK/json")"
		printf '%-63s\n' '' | dd of="$WORK/fault" conv=notrunc status=none
		wait "$copier"
		cmp "$BACKING/f" "$BACKING/copy"
		same "$(<"$MNT/.zcfs/copies")" waiting=0
		zcfs_unmount
		rm "$BACKING/copy"
	done
}

# What a program reads is what the file is called.
check_json() { # NAME
	python3 - "$WORK/json" "$MNT" "$1" <<-'END'
		import json, os, sys
		file, mnt, name = (os.fsencode(word) for word in sys.argv[1:])
		status = json.load(open(file))
		assert os.fsencode(status["mount_point"]) == mnt, status["mount_point"]
		copy, = status["copies"]
		src = copy["src"].encode("utf-8", "surrogateescape")
		assert src.endswith(name), (src, name)
		assert copy["dst"].endswith("copy"), copy["dst"]
		assert 0 < copy["done"] < copy["total"] == 4000000, copy
		assert copy["seconds"] >= 0 and copy["pid"] > 0, copy
	END
}
