# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by fetch and build-debug: packages of other Debian suites, without
# touching this machine's apt.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints "URI suite" for each binary source of this machine.
machine_sources() {
	local f
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$f" ] || continue
		sed -n 's/^[[:space:]]*deb[[:space:]]\+\(\[[^]]*\]\)\?//p' "$f" |
			awk '{ print $1, $2 }'
	done
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -f "$f" ] || continue
		awk -v RS= -v FS='\n' '{
			split("", v); key = ""
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^#/)
					continue
				if ($i ~ /^[^[:space:]:]+:/) {
					key = tolower($i); sub(/:.*/, "", key)
					sub(/^[^:]*:/, "", $i)
				}
				v[key] = v[key] " " $i
			}
			if (v["enabled"] ~ /no/ || (" " v["types"] " ") !~ / deb /)
				next
			n = split(v["uris"], u, " "); m = split(v["suites"], s, " ")
			for (a = 1; a <= n; a++)
				for (b = 1; b <= m; b++)
					print u[a], s[b]
		}' "$f"
	done
}

# mirror main|security: the first Debian archive of that kind.  Its Release
# file is not asked: a Debian suite name and the usual path tell.
mirror() {
	local suites='(bullseye|bookworm|trixie|forky|sid|(old)*stable|testing|unstable)'

	[ "$1" = main ] || suites="$suites-security"
	machine_sources | awk -v re="^$suites\$" '$2 ~ re { print $1; exit }'
}

# sources SUITE: the lines of a private sources.list
sources() {
	local main=${UREMAP_MIRROR:-$(mirror main)} sec by=''

	sec=${UREMAP_SECURITY_MIRROR:-$(mirror security)}
	[ -n "$main" ] || die "no Debian archive among this machine's apt sources;" \
		"set UREMAP_MIRROR (and UREMAP_SECURITY_MIRROR) to one"
	[ -f $keyring ] && by="[signed-by=$keyring] "
	echo "deb $by$main $1 main"
	# sid has no security suite; 5.10 is taken from bullseye itself
	if [ "$1" = bookworm ] && [ -n "$sec" ]; then
		echo "deb $by$sec $1-security main"
	fi
}

# apt_area SUITE: a private apt, described by the file $apt_conf.  It has the
# machine's proxies and certificates, nothing else of it.
apt_area() {
	# shellcheck disable=SC2154 # common.sh's
	local area=$cache/apt/$1

	mkdir -p "$area/lists/partial" "$area/archives/partial"
	: >"$area/status"
	sources "$1" >"$area/sources.list"
	cat >"$area/apt.conf" <<-END
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		APT::Architecture "amd64";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::Etc::sourcelist "$area/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State::lists "$area/lists";
		Dir::State::status "$area/status";
		Dir::Cache "$area";
	END
	apt_conf=$area/apt.conf
	apt-get -c "$apt_conf" -qq update
}

# unpack DIR PKG...: download by name and unpack
unpack() {
	local dir=$1 debs

	shift
	debs=$(mktemp -d "$cache/debs.XXXXXX")
	(cd "$debs" && apt-get -c "$apt_conf" -qq download "$@" >&2) ||
		die "download failed: $*"
	mkdir -p "$dir"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$dir"
	done
	rm -rf "$debs"
}
