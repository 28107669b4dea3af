#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# host: test/badsym %k
# qemu: -f build/badsym-%k/uremap-bad.ko
#
# Proves that the module refuses to load on a kernel that lacks internals it
# needs: it names every one of them in one message, and leaves nothing behind.
#
# The kernel that lacks them is simulated by a module that wants two more.

n=0
# tap STATUS SENTENCE
tap() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - load: $2"
	else
		echo "not ok $n - load: $2"
	fi
}

echo 1..7
rmmod uremap
tap $? "the good module unloads"

dmesg -c >/dev/null
! out=$(insmod ./uremap-bad.ko 2>&1)
tap $? "the bad module does not load"
case $out in
*'No such file or directory'* | *'unknown symbol'*) tap 0 "it fails with ENOENT" ;;
*)
	tap 1 "it fails with ENOENT"
	echo "# $out"
	;;
esac

dmesg >log
grep -q 'uremap: this kernel lacks 2 symbol(s): uremap_no_such_symbol uremap_no_such_symbol_either$' log
tap $? "one message names all that is missing"
# busybox tries two system calls
[ "$(grep -o 'uremap: .*' log | sort -u | wc -l)" = 1 ]
tap $? "and nothing else is said"

[ ! -e /sys/module/uremap ] && [ ! -e /dev/uremap ] && [ ! -e /sys/class/misc/uremap ] &&
	[ ! -e /sys/kernel/debug/uremap ] && ! grep -q '\[uremap\]' /proc/kallsyms
tap $? "nothing is left behind"

insmod ./uremap.ko && [ -c /dev/uremap ]
tap $? "the good module loads again"
