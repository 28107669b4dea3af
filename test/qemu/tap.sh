# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by check: counting and completing TAP.

# count WHAT FILE...: passed, failed or skipped; a program that is skipped as a
# whole is one
count() {
	local what=$1

	shift
	case $what in
	passed) cat "$@" | grep '^ok ' | grep -c -v -i '# SKIP' ;;
	failed) cat "$@" | grep -c '^not ok ' ;;
	skipped) cat "$@" | grep -c -i -E '^(ok .*|1\.\.0 *)# SKIP' ;;
	esac || :
}

summary() {
	local p f s

	s=$(count skipped "$@")
	p=$(count passed "$@")
	f=$(count failed "$@")
	echo "$p passed, $f failed, $s skipped"
}

# finish DIR NAME STATUS WHY: NAME.tap from NAME.out, completed: what a program
# announced and did not report has failed, and so has one that failed without
# saying where
finish() {
	local out=$1/$2.out tap=$1/$2.tap status=$3 plan seen i

	touch "$out"
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$out" | head -n 1)
	seen=$(grep -c -E '^(not )?ok ' "$out" || :)
	if [ "$plan" = 0 ] && [ "$status" = 0 ]; then
		mv "$out" "$tap"
		return
	fi
	if [ "${plan:-0}" -le "$seen" ]; then
		plan=$seen
		if [ "$seen" = 0 ] ||
		   { [ "$status" != 0 ] && [ "$(count failed "$out")" = 0 ]; }; then
			plan=$((seen + 1))
		fi
	fi
	{
		echo "1..$plan"
		sed '/^1\.\./d' "$out"
		for ((i = seen + 1; i <= plan; i++)); do
			echo "not ok $i - $2: $4"
		done
	} >"$tap"
	rm "$out"
}
