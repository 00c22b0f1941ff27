# Shared by the scripts of this folder; sourced, with the repository's root as the working directory.
# shellcheck shell=bash

readonly system_packages=(
    libmicrohttpd-dev libsqlite3-dev zlib1g-dev libgnutls28-dev rapidjson-dev librdkafka-dev libcurl4-openssl-dev
    pkg-config gcc g++ python3 python3-venv curl
)
readonly swift_oldest=6.2

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

# install_packages NAME...: installs what is missing on Debian and its relatives; elsewhere says what to install.
install_packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        packages_elsewhere "$@"
        return
    fi
    local missing=() name
    for name in "$@"; do
        # Its flavours exclude one another, and each will do.
        [[ $name == libcurl4-openssl-dev ]] && pkg-config --exists libcurl 2>/dev/null && continue
        [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) == ii* ]] || missing+=("$name")
    done
    ((${#missing[@]} == 0)) && return
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "these packages are missing: ${missing[*]} (install them as root)"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${missing[@]}" >&2
}

# Without apt nothing is installed: what the build needs is looked for, and named when it is not there.
packages_elsewhere() {
    local absent=() name
    for name in "$@"; do
        case $name in
            libmicrohttpd-dev) pkg-config --exists libmicrohttpd 2>/dev/null || absent+=("libmicrohttpd (headers)") ;;
            libsqlite3-dev) pkg-config --exists sqlite3 2>/dev/null || absent+=("SQLite 3 (headers)") ;;
            librdkafka-dev) pkg-config --atleast-version 2.0.2 rdkafka 2>/dev/null ||
                absent+=("librdkafka 2.0.2 or newer (headers)") ;;
            libgnutls28-dev) pkg-config --exists gnutls 2>/dev/null || absent+=("GnuTLS (headers)") ;;
            # Any of its TLS libraries will do.
            libcurl4-openssl-dev) pkg-config --atleast-version 7.85 libcurl 2>/dev/null ||
                absent+=("libcurl 7.85 or newer (headers)") ;;
            zlib1g-dev) pkg-config --exists zlib 2>/dev/null || absent+=("zlib (headers)") ;;
            rapidjson-dev) echo '#include <rapidjson/reader.h>' | c++ -fsyntax-only -x c++ - 2>/dev/null ||
                absent+=("RapidJSON (headers)") ;;
            python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || absent+=("Python's venv and pip") ;;
            *) command -v "$name" >/dev/null || absent+=("$name") ;;
        esac
    done
    ((${#absent[@]} == 0)) || fail "please install with this system's package manager: ${absent[*]}"
}

# The toolchain is not installed behind anybody's back.
require_swift() {
    local version=""
    if command -v swift >/dev/null; then
        version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    fi
    if [[ -n $version && $(printf '%s\n' "$swift_oldest" "$version" | sort -V | head -n 1) == "$swift_oldest" ]]; then
        return
    fi
    say "Swift $swift_oldest or newer is needed; found: ${version:-none}."
    say "Install it from https://www.swift.org/install/ (swiftly is the shortest way), then run this again."
    exit 1
}

# What the release binaries are built with, by every script that needs them, so that one build serves all: what is tested
# is what is packaged, which has to run where there is no Swift.
readonly release_build=(--scratch-path .build/release-build -c release --static-swift-stdlib -j 2)
readonly release_bin=.build/release-build/release

build_release() {
    local product
    for product in "$@"; do swift build "${release_build[@]}" --product "$product" >&2; done
}
