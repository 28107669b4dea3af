#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Proves that moves cost no more instructions and no more TLB shootdowns than were
# measured and stored in bench/baseline, within 1 %.
# qemu: -i -f build/bench/bench -d bench/baseline
# host: make -s -C bench
# stock: the numbers stored are those of stock kernels
#
# Instructions are counted by the emulator, so neither the load of the machine
# nor its kind matters.  Where a change is worth more of them: bench/rebase.
set -eu

release=$(uname -r)
baseline=$(grep -l -x "# $release" baseline/*.csv) || {
	echo 1..1
	echo "ok 1 - speed # SKIP nothing is stored for $release (bench/rebase does that)"
	exit 0
}
sh baseline/measure >/tmp/now.csv

# Each stored line is a test.  Columns 7 and 9: instructions a page, the least of the
# repetitions, to which a timer tick can only add; and shootdowns.
awk -F, '
/^#/ { next }
{ key = $1 ", " $2 ", " $3 ", " $4 ", " $5 " pages a call" }
FNR == NR {
	now[key] = $7
	ipis[key] = $9
	next
}
{
	n++
	what = sprintf("%s: %s of %s instructions, %s of %s shootdowns", key, \
		key in now ? now[key] : "no number", $7, \
		key in now ? ipis[key] : "no number", $9)
	if (!(key in now) || now[key] + 0 > $7 * 1.01 || ipis[key] + 0 > $9 * 1.01)
		print "not ok " n " - " what ", more than 1 % above"
	else
		print "ok " n " - " what
	if (key in now && now[key] < $7 * 0.97)
		print "# " key ": better by 3 % and more; store it with bench/rebase"
}
END { print "1.." n }' /tmp/now.csv "$baseline"
