# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Read by vm/run and distro/run: packages of other suites of Debian than this machine's, found, taken
# and unpacked, never installed. apt is given a configuration of its own (apt.conf(5)), made from the
# machine's sources with another suite; the lists and the archives lie in a directory of ours, and the
# machine's own are not touched. Not for several processes at once: apt locks the lists.

# Prints the machine's archive of Debian, "[OPTIONS] URI", for one-line entries as sources.list(5) has
# them: of the source that has the suite that is installed here. Both formats are read.
debian_archive() {
	local codename

	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | one_line_archive "$codename"
	cat /etc/apt/sources.list.d/*.sources 2>/dev/null | deb822_archive "$codename"
}

one_line_archive() { # CODENAME
	sed -nE "s/^deb +((\[[^]]*\] +)?[^ ]+) +$1 .*/\1/p"
}

deb822_archive() { # CODENAME
	awk -v codename="$1" '
	function finish() {
		if (uri && !off && (" " suites " ") ~ " " codename " ")
			print (key ? "[signed-by=" key "] " : "") uri
		uri = suites = key = off = ""
	}
	{ name = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value) }
	/^[ \t]*$/ { finish() }
	name == "uris:" { uri = $2 }
	name == "suites:" { suites = value }
	name == "signed-by:" { key = $2 }
	name == "enabled:" { off = tolower($2) == "no" }
	END { finish() }'
}

# packages_open DIRECTORY SUITE...: from here on apt works on these suites. Lists that are not older
# than a week are taken as they are: a second run needs no network. Returns 1 when there are none.
packages_open() {
	local directory=$1 archive suite

	shift
	archive=$(debian_archive | head -n 1)
	[[ -n $archive ]] || { echo "no sources of Debian's in /etc/apt" && return 1; }
	mkdir -p "$directory"/{lists,cache,empty}
	for suite; do
		echo "deb $archive $suite main"
	done >"$directory/sources.list.new"
	cat >"$directory/apt.conf" <<-END
		Dir::Etc::sourcelist "$directory/sources.list";
		Dir::Etc::sourceparts "$directory/empty";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "$directory/empty";
		Dir::State::Lists "$directory/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$directory/cache";
		APT::Sandbox::User "$(id -un)";
	END
	export APT_CONFIG=$directory/apt.conf
	if ! cmp -s "$directory/sources.list.new" "$directory/sources.list" ||
		[[ -z $(find "$directory/updated" -mtime -7 2>/dev/null) ]]; then
		mv "$directory/sources.list.new" "$directory/sources.list"
		packages_update "$directory"
	fi
}

# A suite that is not there, or that is signed by keys unknown here, does not keep us from the others.
packages_update() { # DIRECTORY
	local said

	said=$(apt-get -q update 2>&1)
	if [[ -z $(apt-cache pkgnames base-files) ]]; then
		tail -n 3 <<<"$said"
		return 1
	fi
	touch "$1/updated"
}

# packages_unpack DIRECTORY PACKAGE...: into a directory that is there
packages_unpack() {
	local directory=$1 debs status=0 deb

	shift
	debs=$(mktemp -d "$directory/debs.XXXXXX") || return
	(cd "$debs" && apt-get -q download "$@") >"$debs/log" 2>&1 || status=1
	((status == 0)) || tail -n 3 "$debs/log"
	for deb in "$debs"/*.deb; do
		((status)) || dpkg-deb -x "$deb" "$directory" || status=1
	done
	rm -rf "$debs"
	return $status
}
