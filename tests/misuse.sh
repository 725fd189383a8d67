#!/bin/sh
# SPDX-License-Identifier: MIT
#
# misuse.sh asan PROGRAM      succeeds when AddressSanitizer killed the program
# misuse.sh assert PROGRAM    succeeds when an assertion did
# misuse.sh lives PROGRAM     succeeds when the program did nothing wrong, and this script says so
#
# Any other end, a crash or an ordinary failure, is none of these.

how=$1
program=$2

# The status of the program: 86 from AddressSanitizer, 134 from abort().
run() {
	# shellcheck disable=SC3045 # not in POSIX, but in every sh that Debian has
	ulimit -c 0
	ASAN_OPTIONS=exitcode=86:abort_on_error=0:detect_leaks=0 "$@" 2>/dev/null
}

case $how in
asan) expected=86 ;;
assert) expected=134 ;;
lives)
	expected=0
	# The control: on a program that lives, and on one that just fails, the other two must fail.
	for death in asan assert; do
		"$0" $death "$program" && exit 1
		"$0" $death false && exit 1
	done
	;;
*) exit 2 ;;
esac

run "$program"
status=$?
echo "${program##*/}: status $status, expected $expected"
test $status -eq $expected
