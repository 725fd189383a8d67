# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# Errors, times, rights and set-id bits of POSIX's calls on files, as root, as several users and with
# their groups.
#
# filesystems: ext4 xfs btrfs
# users: root
# timeout: 120

check_all() { # zcfs's options
	local status=0

	[[ $WHO != root ]] || set -- -o allow_other,dev,suid "$@"
	zcfs_mount "$@"
	chmod 755 "$NATIVE" "$BACKING" # others must get at both
	check_posix "$NATIVE" "$MNT" >"$WORK/checks" || status=$?
	grep -v '^passed' "$WORK/checks" | head -40 || true
	# What a failed check has left immutable could not be removed.
	((!status)) || chattr -R -ia "$NATIVE" "$BACKING" 2>/dev/null || true
	((!status)) || fail 'a check has failed'
	note "$(awk '/^passed/ { n++; sum += $(NF - 1) } /^skipped/ { skipped++ }
		END { print n + 0, "checks,", sum + 0, "assertions,", skipped + 0, "skipped" }' \
		"$WORK/checks")"
}

# users: root user
test_calls_behave_as_posix_has_it() {
	check_all
}

# filesystems: ext4
test_calls_behave_as_posix_has_it_without_caches() {
	check_all -o attr_timeout=0,entry_timeout=0,cache=never
}
