# What install.sh and test.sh share: system packages and a virtualenv. Sourced; idempotent.
# Works on a bare Debian 12 or Ubuntu 24.04, as root.

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

check_machine() {
    [ "$(id -u)" = 0 ] || die "run this as root: containers need it"
    [ "$(uname -s)" = Linux ] || die "Pier runs on Linux"
    . /etc/os-release
    case "$ID:${VERSION_ID:-}" in
        debian:1[2-9] | ubuntu:2[4-9].*) ;;
        *) die "this script knows Debian 12 and Ubuntu 24.04 (or newer), not ${PRETTY_NAME:-this system};
       by hand: install python3-venv, crun or runc, nftables, busybox-static and 'pip install .'" ;;
    esac
}

# install_packages NAME...: only what dpkg does not have yet, so a second run needs no network.
install_packages() {
    local missing=() name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${Status}' "$name" 2>/dev/null)" = "install ok installed" ] || missing+=("$name")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing ${missing[*]}"
    apt-get update -qq
    # What only chatters is kept back; it is shown if the installation fails.
    local log
    log=$(mktemp)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > "$log" 2>&1 \
        || { cat "$log" >&2; rm -f "$log"; die "apt-get could not install ${missing[*]}"; }
    rm -f "$log"
}

RUN_PACKAGES=(python3 python3-venv ca-certificates crun runc nftables iproute2 busybox-static procps tini)
TEST_PACKAGES=(git curl docker-registry skopeo mmdebstrap iptables e2fsprogs xz-utils bzip2 zstd strace)

# make_venv LOCK: .venv with exactly what LOCK pins, and Pier itself in place.
make_venv() {
    local lock=$1 python=/usr/bin/python3 sum version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sum=$({ echo "$PWD $version"; cat "$lock" pyproject.toml; } | sha256sum | cut -d' ' -f1)
    if [ "$(cat ".venv/.made-from-$lock" 2>/dev/null)" = "$sum" ]; then
        return 0
    fi
    say "making the virtualenv from $lock"
    # A checkout that was moved, or a new Python below it, needs a new one.
    if ! .venv/bin/pip --version 2>/dev/null | grep -q "python $version)"; then
        "$python" -m venv --clear .venv
    fi
    .venv/bin/python -m pip install -q --disable-pip-version-check --only-binary=:all: --require-hashes -r "$lock"
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$sum" > ".venv/.made-from-$lock"
}

# install_launcher FILE: the command `pier`. A path that would need quoting gets pip's slower one.
install_launcher() {
    local site
    case "$PWD" in
        *[!A-Za-z0-9/._-]*) ln -sf "$PWD/.venv/bin/pier" "$1"; return ;;
    esac
    site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    .venv/bin/python -m compileall -q pier
    rm -f "$1" # it may be a link into the virtualenv
    sed "s|@PIER@|$PWD|g; s|@SITE@|$site|g" scripts/launcher.py > "$1"
    chmod 755 "$1"
}
