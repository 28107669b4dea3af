# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by run and by each check.  A check is a program in checks/: it prints
# what it finds and exits 0 if that is nothing, 77 if it had nothing to look at
# (its last line says why), anything else otherwise.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit
# shellcheck disable=SC2034 # these are for those who source this file
{
lint=$top/test/lint
cache=${UREMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uremap}
kernels=${KERNELS:-5.10 6.1 6.12 7.2}
}
work=$top/build/lint

mkdir -p "$work"

# files [GLOB...]: the files of the project, committed or about to be
files() {
	if [ -e .git ]; then
		git ls-files -co --exclude-standard -- "$@"
	else
		find . -type f -printf '%P\n' | match "$@"
	fi | grep -vE '^build/|\.checkpatch-' | while read -r f; do
		[ ! -f "$f" ] || echo "$f"
	done | sort -u
}

# match [GLOB...]: of the names read, those that a pattern covers, as git does
match() {
	local f glob

	while read -r f; do
		[ $# -gt 0 ] || echo "$f"
		for glob; do
			# shellcheck disable=SC2053 # a pattern
			[[ $f != $glob ]] || echo "$f"
		done
	done
}

skip() {
	echo "$*"
	exit 77
}

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Findings are counted, so that one run shows them all.
found=0
finding() {
	printf '%s\n' "$*"
	found=$((found + 1))
}

verdict() {
	[ "$found" = 0 ] || exit 1
	exit 0
}
