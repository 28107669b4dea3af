#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# An unmodified program for UFFDIO_MOVE says through uremap-run, word for word,
# what it says natively on Linux 6.12; and the same as without uremap-run where
# the module cannot be used.
#
# host: flock build make -s -C lib && flock build make -s -C test/preload_prog
# qemu: -f build/test/preload_prog -f test/preload_prog/transcript
# qemu: -f test/preload_prog/differences
# qemu: -f build/lib/uremap-preload.so -f build/lib/uremap-run
# qemu: -f /lib64/ld-linux-x86-64.so.2:/lib64/ld-linux-x86-64.so.2
# qemu: -f /lib/x86_64-linux-gnu/libc.so.6:/lib/x86_64-linux-gnu/libc.so.6
set -u

prog=/t/preload_prog
run=/t/uremap-run
tmp=$(mktemp -d)
count=0
failed=0

# ok NAME, after a command whose status decides
report()
{
	if [ $? = 0 ]; then
		result=ok
	else
		result='not ok'
		failed=1
	fi
	count=$((count + 1))
	echo "$result $count - $1"
	[ "$result" = ok ] || [ ! -s "$tmp/why" ] || sed 's/^/# /' "$tmp/why"
	: >"$tmp/why"
}

# scene NAME FILE: its lines
scene()
{
	awk -v head="$1:" '/^[^ #]/ { on = $0 == head; next } on && /^ /' "$2"
}

# expected NAME WAY: what the transcript has, or an intended difference
expected()
{
	[ "$2" != preloaded ] || set -- "$1" native
	case $2$(uname -r) in
	module5.*) grep -q "^$1@old:" "$tmp/differences" && set -- "$1" old ;;
	esac
	if grep -q "^$1@$2:" "$tmp/differences"; then
		scene "$1@$2" "$tmp/differences"
	else
		scene "$1" "$tmp/transcript"
	fi
}

# play WAY COMMAND...: each scene through COMMAND
play()
{
	way=$1
	shift
	for s in $scenes; do
		# nothing of the library takes part in it there
		[ "$way $s" != "preloaded stress" ] || continue
		expected "$s" "$way" >"$tmp/want"
		"$@" $prog "$s" >"$tmp/out" 2>"$tmp/err"
		scene "$s" "$tmp/out" >"$tmp/got"
		# of stderr, times are no part of the result
		grep 'with wake-up' "$tmp/err" | sed 's/^/# /'
		grep -v 'with wake-up' "$tmp/err" >>"$tmp/got"
		[ -s "$tmp/want" ] &&
			diff -u "$tmp/want" "$tmp/got" >"$tmp/why"
		report "$s, $way"
	done
}

cp transcript differences "$tmp"
scenes=$(sed -n 's/^\([a-z].*\):$/\1/p' transcript)
api='api api_unprivileged api_pointer before_api other_files'
: >"$tmp/why"

$prog api >"$tmp/out"
native=$(scene api "$tmp/out" | grep -c 'offers MOVE 1')

if [ "$native" != 0 ]; then
	play native
	play preloaded $run
	$run -d $prog wake 2>&1 >/dev/null | grep -q 'the kernel has UFFDIO_MOVE'
	report "it stays out of the way, and says so if asked"
	play module $run -a
	$run -ad $prog wake 2>&1 >/dev/null | grep -q 'UFFDIO_MOVE by /dev/uremap'
	report "the module was used as demanded"
else
	$prog wake | grep -q 'no UFFDIO_MOVE: EINVAL'
	report "the program cannot run without the module"
	play module $run
	$run -d $prog wake 2>&1 >/dev/null | grep -q 'UFFDIO_MOVE by /dev/uremap'
	report "the module was used, it says if asked"
fi

# same WHY MESSAGE [USER]: as if uremap-run were not there
same()
{
	su -s /bin/sh "${3:-root}" -c "$run $prog $api" >"$tmp/out" 2>"$tmp/err"
	su -s /bin/sh "${3:-root}" -c "$prog $api" >"$tmp/want" 2>/dev/null
	[ -s "$tmp/want" ] && [ ! -s "$tmp/err" ] &&
		diff -u "$tmp/want" "$tmp/out" >"$tmp/why"
	report "$1: as without uremap-run"
	[ "$native" = 0 ] || return
	su -s /bin/sh "${3:-root}" -c "$run -d $prog wake" 2>&1 >/dev/null |
		grep -q "$2"
	report "$1: says why if asked"
}

echo nobody:x:65534:65534::/:/bin/sh >>/etc/passwd
chmod 755 "$tmp"
echo 1 >/proc/sys/vm/unprivileged_userfaultfd
same "not permitted" 'permission denied' nobody
mv /dev/uremap /dev/uremap.away
same "no device" 'no such device'
mknod /dev/uremap c 1 3
same "another device" 'not the device of uremap'
rm /dev/uremap
mv /dev/uremap.away /dev/uremap

# shellcheck disable=SC2016 # the inner shell expands it
[ "$($run sh -c 'echo "$LD_PRELOAD"')" = /t/uremap-preload.so ] &&
	[ "$(LD_PRELOAD=x.so $run sh -c 'echo "$LD_PRELOAD"')" = \
		/t/uremap-preload.so:x.so ]
report "other preloaded libraries stay"
$run sh -c 'exit 37'
[ $? = 37 ]
report "the status is the program's"
$run -x >/dev/null 2>&1
[ $? = 125 ]
report "a wrong option is 125"
$run /nowhere 2>/dev/null
[ $? = 127 ]
report "no such program is 127"

echo "1..$count"
rm -r "$tmp"
exit $failed
