# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Read by demo and test: what a machine must have, and the build.

: "${top:?is the top of the tree}"

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

has() {
	command -v "$1" >/dev/null 2>&1
}

# Whether what the Debian package brings is there, whoever brought it.
is_there() {
	case $1 in
	gcc) has cc || has gcc ;;
	libc6-dev) test -e /usr/include/linux/fuse.h && test -e /usr/include/stdio.h ;;
	ninja-build) has ninja ;;
	fuse3) has fusermount3 ;;
	libfuse3-dev) pkg-config --exists 'fuse3 >= 3.14' ;;
	liburing-dev) pkg-config --exists 'liburing >= 2.3' ;;
	libcmocka-dev) pkg-config --exists cmocka ;;
	libclang-rt-dev) echo 'int main(void){}' | clang -fsanitize=thread -x c - -o /dev/null ;;
	xfsprogs) has mkfs.xfs ;;
	btrfs-progs) has mkfs.btrfs ;;
	e2fsprogs) has mkfs.ext4 ;;
	acl) has setfacl ;;
	attr) has setfattr ;;
	groff-base) has groff ;;
	postgresql) ls /usr/lib/postgresql/*/bin/initdb >/dev/null ;;
	qemu-system-x86) has qemu-system-x86_64 ;;
	busybox-static) has busybox && ! ldd "$(command -v busybox)" ;;
	xz-utils) has xz ;;
	*) has "$1" ;;
	esac 2>/dev/null
}

# Prints those of the packages that are missing, parted by spaces.
missing_of() {
	missing=
	for package in "$@"; do
		is_there "$package" || missing="$missing $package"
	done
	printf '%s' "${missing# }"
}

# Runs a command as root, if that can be had without asking.
as_root() {
	if test "$(id -u)" -eq 0; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# In runlevel 1 no package starts a server of its own: invoke-rc.d(8).
apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq "$@"
}

# Installs what is missing of the packages, or says what to install and ends.
install_missing() {
	missing=$(missing_of "$@")
	test -n "$missing" || return 0
	if has apt-get && as_root true 2>/dev/null; then
		say "Installing with apt-get: $missing"
		apt_get update || say "apt-get update failed; trying with the lists there are"
		# shellcheck disable=SC2086 # a list
		apt_get -y install $missing >/dev/null || die "apt-get could not install: $missing"
		missing=$(missing_of "$@")
		test -z "$missing" || die "apt-get ran, and these are still missing: $missing"
	elif has apt-get; then
		die "missing: $missing
As root: apt-get install $missing"
	else
		die "missing: $missing
These are Debian's names; install your distribution's packages for them and run this again."
	fi
}

# The same for what can be done without: what needs it says that it was skipped.
try_to_install() {
	test -n "$(missing_of "$@")" || return 0
	(install_missing "$@")
}

# What building takes.
# shellcheck disable=SC2034 # for those who read this file
build_packages="gcc libc6-dev meson ninja-build pkg-config libfuse3-dev liburing-dev libcmocka-dev"

# configure DIRECTORY [meson's options], once; after that ninja -C DIRECTORY knows what to do.
configure() {
	directory=$1
	shift
	test -e "$directory/build.ninja" || meson setup "$@" "$directory" "$top"
}
