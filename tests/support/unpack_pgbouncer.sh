#!/bin/sh
# Put Debian's PgBouncer and the libraries that it needs into a folder. It installs nothing and needs no root.
# The file `program` in the folder has the path of the program, relative to the folder.
set -eu
rm -rf "$1"
mkdir -p "$1/packages"
folder=$(cd "$1" && pwd)

if program=$(PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer); then
	echo "$program" > "$folder/program"
	exit 0
fi
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
	echo "The tests need PgBouncer, and this system has no apt-get: install pgbouncer, and run make again." >&2
	exit 1
fi
cd "$folder/packages"

download() {
	libraries=$(apt-cache "$@" depends pgbouncer | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | grep -v '^libc6$')
	# The word splitting is intended: one argument for each library.
	apt-get --quiet=2 "$@" download pgbouncer $libraries
}

# A fresh machine has no package lists, and only root may write the system's own.
if ! download 2> "$folder/log"; then
	mkdir -p "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial"
	set -- -o "Dir::State=$folder/apt/state" -o "Dir::State::status=/var/lib/dpkg/status" \
		-o "Dir::Cache=$folder/apt/cache" -o "APT::Sandbox::User=$(id -un)"
	if ! { apt-get --quiet=2 "$@" update && download "$@"; } >> "$folder/log" 2>&1; then
		cat "$folder/log" >&2
		echo "The tests need PgBouncer, and apt-get cannot download it: install pgbouncer, and run make again." >&2
		exit 1
	fi
	rm -rf "$folder/apt"
fi
for package in *.deb; do
	dpkg-deb --extract "$package" "$folder"
done
echo usr/sbin/pgbouncer > "$folder/program"
