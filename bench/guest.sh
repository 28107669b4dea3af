#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# All measurements of one boot, run by "run" in the guest.  Few pages where a
# call moves few of them: the cost per page does not depend on their number.
set -eu

reps=${1:-2}
few="./bench -r $reps -n 1024 -c 1,8"
many="./bench -r $reps -n 4096 -c 64,512,4096"

$few -F all
$many -F all
$few -e busy all
$many -e busy all
./bench -r "$reps" -p scat -c 1,8,64 all
./bench -r "$reps" -p near -c 1,8 uremap_movev

$few -f thp all
$many -f thp all
./bench -r "$reps" -f 64k -c 1,8,16,64,512,4096 uremap_move uffd_move uffd_copy_dn \
	memcpy_dn mremap mremap_mis mremap_du
./bench -r "$reps" -f 64k -c 16 uremap_movev

if echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/bench; then
	sh -c 'echo $$ >/sys/fs/cgroup/bench/cgroup.procs
		./bench -r "$1" -e cgroup -n 1024 -c 1 all
		./bench -r "$1" -e cgroup -c 512 all' sh "$reps"
else
	echo "# there are no memory cgroups here"
fi

if modprobe kvm-amd 2>/dev/null && [ -e /dev/kvm ]; then
	./bench -r "$reps" -e notifier -n 1024 -c 1 all
	./bench -r "$reps" -e notifier -c 512 all
else
	echo "# KVM does not load here: MMU notifiers are not measured"
fi

./bench -r "$reps" holes ranges vmas movers wake
