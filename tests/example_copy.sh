#!/bin/sh
# SPDX-License-Identifier: MIT
# example_copy.sh PROGRAM: what it copies must be equal, from nothing to several MiB.

set -e
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for size in 0 1 4096 262143 262144 10000001; do
	head -c $size /dev/urandom >"$dir/from"
	"$program" <"$dir/from" >"$dir/to"
	cmp "$dir/from" "$dir/to"
done
# An error is told: the program cannot read its output, or write its input.
if "$program" <"$dir/from" >/dev/full; then
	echo "a full device was not told" >&2
	exit 1
fi
