# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by the scripts of this directory and of bench, dkms, fuzz, mutants and
# torture: where things are.
#
# $cache/K/ holds everything of kernel K (5.10 6.1 6.12 7.2) after "fetch K":
#   release   its release name     vmlinuz   the image to boot
#   headers   what to build with   root      the unpacked image package
#   chroot    7.2 only: a sid system with the compiler that kernel wants

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034 # for the scripts that source this
qemu=$top/test/qemu
# shellcheck disable=SC2034
build=$top/build
cache=${UREMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uremap}
me=${0##*/}

die() {
	printf '%s: %s\n' "$me" "$*" >&2
	exit 1
}

# lock FILE: one at a time, until this process ends
lock() {
	mkdir -p "$(dirname "$1")"
	exec {lock_fd}>>"$1"
	flock "$lock_fd"
}

# suite_of K: the Debian suite whose stock kernel K is
suite_of() {
	case $1 in
	5.10) echo bullseye ;;
	6.1 | 6.12) echo bookworm ;;
	7.2) echo sid ;;
	*) die "unknown kernel '$1' (known: 5.10 6.1 6.12 7.2)" ;;
	esac
}

release_of() {
	cat "$cache/$1/release"
}

# fault_of_emulator CONSOLE: did the guest end by a fault that is the emulator's own?
# While the kernel patches code (jump labels, tracepoints), a CPU may execute a
# breakpoint that is gone already, or an idle one never hears that it is waited for.
# On hardware there is no such thing, and if the module had to do with it, it would
# be in the trace.
fault_of_emulator() {
	case $(grep -m 1 -E 'BUG|WARNING|Oops|[pP]anic|protection fault|stall|blocked|int3: 0000' "$1") in
	*'int3: 0000 [#1]'*)
		! grep -m 1 'RIP: 0010:' "$1" | grep -qF '[uremap]'
		;;
	*'soft lockup'* | *'rcu: INFO: '*)
		grep -q text_poke_bp_batch "$1" && ! grep -qF '[uremap]' "$1"
		;;
	*)
		false
		;;
	esac
}
