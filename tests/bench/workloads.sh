# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154
#
# What is measured. Read by mount-scripts/bench.
#
# A workload is three functions:
#
#     prepare_NAME    makes its data in $backing, once for a filesystem
#     run_NAME        works in $view, by calling
#                         timed LABEL higher|lower UNIT AMOUNT COMMAND...
#                     which measures the command. What counts is AMOUNT for each second, or with
#                     the unit ms the time; more labels make more lines in the table.
#     check_NAME      compares in $backing what was copied
#
# and a line in the table of workloads: its kind, what it needs, its name. Results go to out/, which is
# removed before each run. "fresh" mounts anew, so that nothing of what was done is in a cache of FUSE.

workloads='
copy - copy_cold
copy - copy_warm
copy - copy_1M
copy - copy_4K
copy - copy_mixed
copy - copy_sparse
copy - copy_parallel
data fio read
data fio randread
data fio write
data fio randwrite
meta - files
meta - untar
meta git git_status
'

nothing() {
	:
}

# Reads files of the backing directory into the page cache, or has it forget them.
warm() {
	find "$@" -type f -exec cat {} + >/dev/null
}

cool() {
	sync "$1"
	dd if="$1" iflag=nocache count=0 status=none
}

same() { # SOURCE COPY
	cmp "$backing/$1" "$backing/$2"
}

same_trees() {
	diff -r --brief "$backing/$1" "$backing/$2"
}

# --- One large file -------------------------------------------------------------------------------

prepare_large() {
	[[ -e $backing/large ]] || head -c "$size" /dev/urandom >"$backing/large"
	sync "$backing/large"
}

copy_and_sync() {
	"${copier[@]}" "$@" && sync "${@: -1}"
}

prepare_copy_cold() {
	prepare_large
}

run_copy_cold() {
	cool "$backing/large"
	timed 'cp of a large file, cold, with fsync' higher MB/s "$size" \
		copy_and_sync "$view/large" "$view/out/copy"
}

check_copy_cold() {
	same large out/copy
}

prepare_copy_warm() {
	prepare_large
}

run_copy_warm() {
	warm "$backing/large"
	settle $((3 * size)) # the copy, and what a mount caches of both
	timed 'cp of a large file, warm' higher MB/s "$size" \
		"${copier[@]}" "$view/large" "$view/out/copy"
}

check_copy_warm() {
	same large out/copy
}

# Data at two places of a file that is twice as large as the large one.
prepare_copy_sparse() {
	local i

	truncate -s $((2 * size)) "$backing/sparse"
	for i in 0 1; do
		dd if=/dev/urandom of="$backing/sparse" bs=64K count=$(((size >> 22) + 1)) conv=notrunc \
			seek=$((i * size + 65536)) oflag=seek_bytes status=none
	done
	sync "$backing/sparse"
}

run_copy_sparse() {
	warm "$backing/sparse"
	timed 'cp of a sparse file' lower ms 0 "${copier[@]}" "$view/sparse" "$view/out/copy"
}

check_copy_sparse() {
	same sparse out/copy
}

# --- Trees ----------------------------------------------------------------------------------------

copy_tree() { # NAME LABEL FILES
	warm "$backing/$1"
	settle $((3 * $(du -sb "$backing/$1" | cut -f 1)))
	timed "$2" higher files/s "$3" "${copier[@]}" "$view/$1" "$view/out/"
}

prepare_copy_1M() {
	mkdir "$backing/megabytes"
	tree fill "$backing/megabytes" "$files_1M" 1048576
}

run_copy_1M() {
	copy_tree megabytes "cp -r of $files_1M files of 1 MiB" "$files_1M"
}

check_copy_1M() {
	same_trees megabytes out/megabytes
}

prepare_copy_4K() {
	mkdir "$backing/small"
	tree fill "$backing/small" "$files_4K" 4096
}

run_copy_4K() {
	copy_tree small "cp -r of $files_4K files of 4 KiB" "$files_4K"
}

check_copy_4K() {
	same_trees small out/small
}

prepare_mixed() {
	[[ ! -d $backing/mixed ]] || return 0
	mkdir "$backing/mixed"
	tree mixed "$backing/mixed" "$files_mixed"
}

prepare_copy_mixed() {
	prepare_mixed
}

run_copy_mixed() {
	copy_tree mixed "cp -r of $files_mixed files of mixed sizes" "$files_mixed"
}

check_copy_mixed() {
	same_trees mixed out/mixed
}

# --- Ten copies, and somebody who looks on --------------------------------------------------------

prepare_copy_parallel() {
	local i

	mkdir "$backing/ten" "$backing/watched"
	tree create "$backing/watched" 2000
	for i in 0 1 2 3 4 5 6 7 8 9; do
		head -c $((size / 10)) /dev/urandom >"$backing/ten/$i"
	done
	sync -f "$backing"
}

copy_ten() {
	local i pids=() status=0

	for i in 0 1 2 3 4 5 6 7 8 9; do
		"${copier[@]}" "$view/ten/$i" "$view/out/" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || status=1
	done
	return "$status"
}

# record_latency WHEN FILE: what latency(1) printed; leaves the 99th percentile in $p99
record_latency() {
	local median

	read -r _ _ _ median _ p99 _ <"$2" || return 1
	record "stat and readdir, $1, p50" lower us "$median"
	record "stat and readdir, $1, p99" lower us "$p99"
}

# Before that, SIGTERM would end it without a word.
catches_term() { # PID
	local caught

	caught=$(awk '$1 == "SigCgt:" { print $2 }' "/proc/$1/status" 2>/dev/null)
	((0x${caught:-0} & 1 << 14))
}

start_watcher() {
	local tries

	latency "$view/watched" >"$run/busy" &
	watcher=$!
	for ((tries = 0; tries < 1500; tries++)); do
		catches_term "$watcher" && return
		nap
	done
	return 1
}

run_copy_parallel() {
	local watcher status p99 idle

	uncached=1
	fresh || return
	warm "$backing/ten"
	latency "$view/watched" 1 >"$run/idle" || return
	settle $((3 * size))
	start_watcher || return
	timed 'ten copies at once' higher MB/s $((size / 10 * 10)) copy_ten
	status=$?
	kill "$watcher"
	wait "$watcher" || return
	record_latency idle "$run/idle" || return
	idle=$((p99 > 0 ? p99 : 1))
	record_latency 'during ten copies' "$run/busy" || return
	record 'stat and readdir, p99 during ten copies, of the idle one' lower times \
		"$(awk -v p99="$p99" -v idle="$idle" 'BEGIN { printf "%.3f", p99 / idle }')"
	return "$status"
}

check_copy_parallel() {
	local i

	for i in 0 1 2 3 4 5 6 7 8 9; do
		same "ten/$i" "out/$i" || return
	done
}

# --- Reads and writes -----------------------------------------------------------------------------

# run_fio HOW UNIT: at each block size. Once over the file at most, so that reads find data in the page
# cache of the backing file and not in that of the mount.
run_fio() {
	local block bytes

	for block in $block_sizes; do
		bytes=$size
		[[ $block != 4k ]] || bytes=$((size / 8))
		rm -f "$backing/out/fio"
		truncate -s "$size" "$backing/out/fio"
		sync -f "$backing" # that the old one is gone before
		warm "$backing/large"
		fresh || return
		settle $((2 * size))
		timed "$1 ${block^^}" higher MB/s 0 fio_once "$1" "$block" "$bytes" || return
		# Of the time without that of starting fio.
		override "$(fio_rate "$1")"
	done
}

fio_once() { # HOW BLOCK BYTES
	local file=$view/large

	[[ $1 == *read ]] || file=$view/out/fio
	fio --name=bench --filename="$file" --rw="$1" --bs="$2" --size="$size" --io_size="$3" \
		--ioengine=psync --invalidate=0 --fallocate=none --randrepeat=1 --thread \
		--minimal --terse-version=3 --allow_file_create=0 --output="$run/fio"
}

# KiB/s of reads are in the 7th field of version 3 of fio's terse output, of writes in the 48th.
fio_rate() {
	awk -F';' -v field="$([[ $1 == *read ]] && echo 7 || echo 48)" '
		NF > 50 { printf "%.3f\n", $field * 1024 / 1e6 }' "$run/fio"
}

prepare_read() {
	prepare_large
}
prepare_randread() {
	prepare_large
}
prepare_write() {
	prepare_large
}
prepare_randwrite() {
	prepare_large
}
run_read() {
	run_fio read
}
run_randread() {
	run_fio randread
}
run_write() {
	run_fio write
}
run_randwrite() {
	run_fio randwrite
}

# --- Names ----------------------------------------------------------------------------------------

run_files() {
	local step

	mkdir "$backing/out/files" || return
	for step in create stat list rename remove; do
		fresh || return
		timed "$step $files_meta files" higher files/s "$files_meta" \
			tree "$step" "$view/out/files" "$files_meta" || return
	done
}

prepare_untar() {
	prepare_mixed
	tar -C "$backing" -cf "$run/mixed.tar" mixed
}

run_untar() {
	timed "untar of $files_mixed files" higher files/s "$files_mixed" \
		tar -C "$view/out" -xf "$run/mixed.tar"
}

check_untar() {
	same_trees mixed out/mixed
}

git_in() { # DIRECTORY ARGUMENT...
	local directory=$1

	shift
	HOME=$run git -C "$directory" -c safe.directory='*' -c core.fsmonitor=false "$@"
}

# Files as new as the index would be read by each status.
prepare_git_status() {
	mkdir "$backing/repository"
	tree create "$backing/repository" "$files_meta"
	find "$backing/repository" -type f -exec touch -d 2020-01-01 {} +
	git_in "$backing/repository" init -q &&
		git_in "$backing/repository" add . &&
		git_in "$backing/repository" -c user.name=bench -c user.email=bench@localhost \
			-c gc.auto=0 commit -qm all
}

# The first one, which is not measured, finds the inode numbers of this filesystem and keeps them;
# with --no-optional-locks the second keeps nothing.
run_git_status() {
	git_in "$view/repository" status --porcelain >/dev/null && fresh || return
	timed "git status of $files_meta files" lower ms 0 \
		git_in "$view/repository" --no-optional-locks status --porcelain
}
