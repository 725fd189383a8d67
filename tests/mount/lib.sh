#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What a test on a real mount can use. tests/mount/run starts it once for each test, in the case's
# environment and as the case's user:
#
#     lib.sh FILE FUNCTION
#
# A test file is called NAME.sh and holds functions test_<a_sentence>, each a test of its own, with
# fresh directories, and comments that say how it is to be run:
#
#     # filesystems: ext4 xfs btrfs    of the backing directory (ext4)
#     # users: root user               who runs it, and zcfs (root)
#     # native: no                     makes no sense without zcfs (yes)
#     # slow: yes                      not with --quick (no)
#     # timeout: 300                   seconds; sanitizers get four times as much (60)
#     # needs: fio setfacl             commands; without one the test is skipped, with CI=true failed
#     # wants: sqlite3                 commands; without one the test is skipped, whatever CI is
#
# In the comment at the top of the file they hold for all its tests, right above a function for that
# one. A test fails when a command fails (set -e), so most lines are the check themselves; what is
# still mounted at its end is unmounted, and zcfs must then end with 0.
#
# Variables of a test:
#     BACKING MNT    the backing directory and the mount point; the same directory with --native
#     NATIVE         another directory on the filesystem of BACKING, for comparison
#     WORK           a directory for other files, on another filesystem; $WORK/zcfs.log is stderr
#                    of zcfs
#     FILESYSTEM     ext4, xfs, btrfs
#     WHO            root or user
#     QUICK          1 with --quick, else 0
#     SANITIZER      asan, tsan or none: with what zcfs was built
#     under          array: a command to start zcfs by: under=(prlimit --nofile=64)
#     zcfs_pid       of the zcfs that was started last
#
# The helpers that are built from *.c here are in PATH.

export LC_ALL=C
set -uo pipefail

under=()
zcfs_pid=
mounted=0
exec {nap_fd}<> <(:) # nobody ever writes: read -t sleeps on it without starting a program

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

skip() {
	printf 'SKIP: %s\n' "$*"
	exit 77
}

# For what the kernel lacks: no failure with CI=true either.
skip_kernel() {
	printf 'SKIP: %s\n' "$*"
	exit 78
}

# A number worth knowing, shown with the results.
note() {
	printf 'NOTE: %s\n' "$*"
}

# In a subshell: when the time is over before read waits, as on a slow machine, bash 5.2.15 comes back
# with signals blocked, SIGCHLD among them, and the end of a child is never seen (try 0.000002).
nap() (
	read -rt 0.02 -u "$nap_fd" || true
)

# wait_until SECONDS COMMAND...
wait_until() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		((SECONDS <= end)) || return 1
		nap
	done
}

native() {
	((NATIVE_MODE))
}

as_user() {
	setpriv --reuid="$USER_ID" --regid="$USER_ID" --clear-groups -- "$@"
}

same() {
	[[ $1 == "$2" ]] || fail "expected: $2"$'\n'"found: $1"
}

at_least() {
	(($1 >= $2)) || fail "$3: $1 is less than $2"
}

at_most() {
	(($1 <= $2)) || fail "$3: $1 is more than $2"
}

# fails_with TEXT COMMAND...: the command fails, and says TEXT (a regular expression).
fails_with() {
	local text=$1 output

	shift
	if output=$("$@" 2>&1); then
		fail "should have failed: $*"
	fi
	[[ $output =~ $text ]] || fail "$* should have said '$text', said: $output"
}

# Whether the path is a mount point, without asking the filesystem there.
is_mounted() {
	local mounted_at

	while read -r _ _ _ _ mounted_at _; do
		[[ $mounted_at == "$1" ]] && return 0
	done </proc/self/mountinfo
	return 1
}

# A process that has ended but was not waited for counts as gone.
is_gone() {
	local state

	read -r _ _ state _ 2>/dev/null <"/proc/$1/stat" || return 0
	[[ $state == Z ]]
}

# Starts zcfs in the foreground, in the background of this shell.
zcfs_start() {
	native && return 0
	"${under[@]}" "${RUN_ZCFS[@]}" -f "${TRANSPORT_OPTION[@]}" "$@" "$BACKING" "$MNT" \
		>>"$WORK/zcfs.log" 2>&1 &
	zcfs_pid=$!
	mounted=1
}

is_mounted_or_gone() {
	is_mounted "$MNT" || is_gone "$zcfs_pid"
}

zcfs_mount() {
	native && return 0
	zcfs_start "$@"
	wait_until 60 is_mounted_or_gone || fail 'zcfs does not mount'
	if ! is_mounted "$MNT"; then
		mounted=0
		fail "zcfs ended with $(zcfs_status): $(<"$WORK/zcfs.log")"
	fi
	[[ -d $MNT/. ]] # the first request waits until zcfs serves
}

zcfs_status() {
	local status=0

	wait "$zcfs_pid" || status=$?
	echo "$status"
}

# zcfs_ended [STATUS]: zcfs ends by itself, with that exit code.
# shellcheck disable=SC2120 # tests give it
zcfs_ended() {
	local status=0

	native && return 0
	wait_until 60 is_gone "$zcfs_pid" || fail 'zcfs does not end'
	wait "$zcfs_pid" || status=$?
	mounted=0
	((status == ${1:-0})) || fail "zcfs ended with $status: $(tail -20 "$WORK/zcfs.log")"
	! is_mounted "$MNT" || fail 'zcfs has ended, but its mount is left'
}

zcfs_unmount() {
	native && return 0
	fusermount3 -u "$MNT"
	zcfs_ended 0
}

# zcfs_refuses STATUS TEXT ARGUMENT...: zcfs, with all its arguments given, ends with that code and
# a line on stderr that has the text (a regular expression).
zcfs_refuses() {
	local expected=$1 text=$2 status=0 output

	shift 2
	output=$("${under[@]}" timeout 30 "${RUN_ZCFS[@]}" "$@" 2>&1) || status=$?
	((status == expected)) || fail "zcfs $*: ended with $status, not $expected: $output"
	[[ $output =~ $text ]] || fail "zcfs $*: should say '$text', says: $output"
	((${#output} < 1000)) || fail "zcfs $*: says too much: $output"
}

# The value of a counter, labels included: counter 'zcfs_copy_bytes_total{path="fixed"}'
counter() {
	awk -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }' \
		"$MNT/.zcfs/stats" || fail "no counter $1"
}

# travelled read|write|copy fixed|plain|hole: bytes
travelled() {
	counter "zcfs_${1}_bytes_total{path=\"$2\"}"
}

# travelled_fixed read|write: bytes, by READ_FIXED or WRITE_FIXED with or without zero copy
travelled_fixed() {
	echo $(($(travelled "$1" fixed) + $(travelled "$1" zerocopy)))
}

status_says() {
	grep -Eq -- "$1" "$MNT/.zcfs/status" ||
		fail "the status should say '$1', says: $(<"$MNT/.zcfs/status")"
}

# random_file FILE SIZE: of random bytes; SIZE as head -c takes it
random_file() {
	head -c "$2" /dev/urandom >"$1"
}

# On the disk, and out of the page cache.
cool() { # FILE
	sync "$1"
	dd if="$1" iflag=nocache count=0 status=none
}

# The filesystem of the backing directory, until thaw() or the end of the test.
freeze() {
	fsfreeze -f "$BACKING"
	trap 'fsfreeze -u "$BACKING"' EXIT
}

thaw() {
	trap - EXIT
	fsfreeze -u "$BACKING"
}

# The content and the attributes of all files below a directory, in a form to compare.
describe_tree() (
	cd "$1"
	# A directory's size is the filesystem's business.
	find . -type d -printf '%p %y %m %U %G %n %T@\n' | sort
	find . ! -type d -printf '%p %y %m %U %G %n %T@ %s %l\n' | sort
	find . -type f -print0 | sort -z | xargs -0 -r sha256sum
)

# same_trees A B
same_trees() {
	describe_tree "$1" >"$WORK/tree-a"
	describe_tree "$2" >"$WORK/tree-b"
	diff "$WORK/tree-a" "$WORK/tree-b" || fail "$1 and $2 differ"
}

# Bytes that a file takes on the disk.
bytes_used() {
	echo $(($(stat -c %b "$1") * $(stat -c %B "$1")))
}

# big QUICK_SIZE FULL_SIZE
big() {
	((QUICK)) && echo "$1" || echo "$2"
}

check_up() {
	if [[ -n $zcfs_pid ]] && ((mounted)); then
		wait_until 60 is_mounted_or_gone || true
		zcfs_unmount
	fi
}

run_test() {
	set -eE
	trap 'printf "%s:%s: failed: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR
	cd "$WORK"
	umask 022
	native && MNT=$BACKING
	RUN_ZCFS=("$RUN/bin/zcfs")
	# The thread sanitizers of today cannot live with much randomness in addresses.
	[[ $SANITIZER != tsan ]] || RUN_ZCFS=(setarch -R "${RUN_ZCFS[@]}")
	TRANSPORT_OPTION=("--transport=$TRANSPORT")
	# shellcheck source=/dev/null
	. "$1"
	"$2"
	check_up
}

run_test "$@"
