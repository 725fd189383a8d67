# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154
#
# What is compared. Read by mount-scripts/bench.
#
# A subject is a way to see the directory $backing: the directory itself, or a filesystem that mirrors
# it at $mnt. add_subjects says which there are on this machine, start_subject and stop_subject mount
# and unmount one; between them $view is the directory to work in, $daemon the process that serves it
# (0 for none), and $copier the command that copies.

subjects=()
declare -A subject_kinds  # which workloads: copy, data, meta
declare -A subject_option # of zcfs

# add_subject NAME KINDS [OPTION OF ZCFS]
add_subject() {
	if [[ -n $wanted_subjects ]]; then
		[[ ,$wanted_subjects, == *,$1,* ]] || return 0
	elif ((quick)) && [[ $1 =~ ^(zcfs-plain|zcfs-mixed|zcfs-uring|zcfs-copy-kernel|rsync)$ ]]; then
		return 0
	fi
	subjects+=("$1")
	subject_kinds[$1]=$2
	subject_option[$1]=${3-}
}

# Whether zcfs has the option, and for --name=value the value among those it lists.
zcfs_knows() {
	local name=${1%%=*} value=

	[[ $1 != *=* ]] || value=${1#*=}
	awk -v name="$name" -v value="$value" '
		$1 == name && value == "" { found = 1 }
		index($1, name "=") == 1 || index($1, name "[=") == 1 {
			if (value == "") found = 1
			n = split(substr($1, length(name) + 2), values, "|")
			for (i = 1; i <= n; i++) if (values[i] == value) found = 1
		}
		END { exit !found }' <<<"$zcfs_help"
}

# add_mode NAME KINDS OPTION: zcfs with an option, if this zcfs has it.
add_mode() {
	if zcfs_knows "$3"; then
		add_subject "$@"
	else
		skipped "$1: this zcfs does not know $3"
	fi
}

add_peer() { # NAME KINDS COMMAND
	if command -v "$3" >/dev/null; then
		add_subject "$1" "$2"
	else
		skipped "$1: not installed"
	fi
}

uring_allowed() {
	[[ $(cat /sys/module/fuse/parameters/enable_uring 2>/dev/null) == Y ]]
}

add_subjects() {
	add_subject native 'copy data meta'
	add_subject native-no-reflink copy
	add_subject zcfs 'copy data meta'
	add_mode zcfs-plain 'copy data' --io=plain
	add_mode zcfs-mixed 'data meta' --io=mixed
	add_mode zcfs-dev 'copy data meta' --transport=dev
	if ! zcfs_knows --transport=uring || uring_allowed; then
		add_mode zcfs-uring 'copy data meta' --transport=uring
	else
		skipped 'zcfs-uring: echo 1 >/sys/module/fuse/parameters/enable_uring allows it'
	fi
	add_mode zcfs-passthrough 'copy data meta' --passthrough=rw
	add_mode zcfs-copy-clone copy --copy=clone
	add_mode zcfs-copy-direct copy --copy=direct
	add_mode zcfs-copy-fixed copy --copy=fixed
	add_mode zcfs-copy-kernel copy --copy=kernel
	((with_peers)) || return 0
	add_peer rsync copy rsync
	add_peer passthrough_ll 'copy data meta' passthrough_ll
	add_peer bindfs 'copy data meta' bindfs
	add_peer mergerfs 'copy data meta' mergerfs
}

# serve COMMAND...: starts a filesystem's daemon in the foreground, and waits for its mount.
serve() {
	local tries

	"$@" >"$run/daemon.log" 2>&1 {nap_fd}>&- &
	daemon=$!
	for ((tries = 0; tries < 1500; tries++)); do
		if is_mounted "$mnt"; then
			[[ -d $mnt/. ]] && return # the first request waits until it is served
		fi
		kill -0 "$daemon" 2>/dev/null || break
		nap
	done
	complain "$1 does not mount: $(tail -n 3 "$run/daemon.log")"
	daemon=0
	return 1
}

# Says once by what transport requests come. One that was asked for and that the kernel refused is
# another subject's.
check_transport() { # SUBJECT
	local transport

	transport=$(awk '$1 == "transport" { sub(/,$/, "", $2); print $2 }' "$mnt/.zcfs/status")
	if [[ $1 == zcfs-uring && $transport != uring ]]; then
		complain "$1: requests do not come over io_uring"
		stop_subject
		return 1
	fi
	[[ $1 == zcfs && -z ${default_transport-} ]] || return 0
	default_transport=$transport
	remark "zcfs without options has its requests come by: $transport"
}

# With $uncached every stat(2) asks the daemon.
start_subject() {
	local name=$1 ll=() timeouts=() merger=minfreespace=0 option=()

	if ((uncached)); then
		ll=(-o timeout=0)
		timeouts=(-o 'attr_timeout=0,entry_timeout=0')
		merger=minfreespace=0,cache.attr=0,cache.entry=0
	fi
	[[ -z ${subject_option[$name]} ]] || option=("${subject_option[$name]}")
	view=$mnt
	copier=(cp -r)
	case $name in
	native-no-reflink) copier=(cp -r --reflink=never) ;;
	rsync) copier=(rsync -r --whole-file --sparse) ;;
	esac
	case $name in
	native* | rsync)
		view=$backing
		daemon=0
		;;
	zcfs*)
		serve "$zcfs" -f "${option[@]}" "${timeouts[@]}" "$backing" "$mnt" &&
			check_transport "$name"
		;;
	passthrough_ll) serve passthrough_ll -f -o source="$backing" "${ll[@]}" "$mnt" ;;
	bindfs) serve bindfs -f "${timeouts[@]}" "$backing" "$mnt" ;;
	mergerfs) serve mergerfs -f -o "$merger" "$backing" "$mnt" ;;
	esac
}

# The daemon's memory must be asked for while it is there.
stop_subject() {
	local tries

	((daemon)) || return 0
	for ((tries = 0; tries < 500; tries++)); do
		fusermount3 -u "$mnt" 2>/dev/null && break
		nap
	done
	((tries < 500)) || fusermount3 -u -z "$mnt"
	wait "$daemon"
	daemon=0
}
