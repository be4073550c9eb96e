#!/usr/bin/env bash
# Runs the whole test suite on this machine: units, the kernel, whole daemons, the real clients.
# Arguments go to pytest. Fails too if a test left something behind on the machine.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/bootstrap.sh

check_machine
install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
make_venv requirements-test.lock

# The docker client: the machine's, or the one in Debian's package, unpacked and not installed.
if ! command -v docker >/dev/null; then
    if [ ! -x .cache/docker/usr/bin/docker ]; then
        say "fetching the docker client"
        mkdir -p .cache/docker
        apt-get update -qq
        package=docker-cli # a package of its own since Debian 13; before, part of the daemon's
        [ -n "$(apt-cache show "$package" 2>/dev/null)" ] || package=docker.io
        (cd .cache && apt-get download -qq -o APT::Sandbox::User=root "$package" \
            && dpkg-deb -x "$package"_*.deb docker && rm "$package"_*.deb)
    fi
    export PATH="$PWD/.cache/docker/usr/bin:$PATH"
fi

before=$(mktemp)
trap 'rm -f "$before"' EXIT
.venv/bin/python scripts/leaks.py > "$before"
status=0
# In the background of a script an interrupt is ignored, and what tests start would inherit that.
env --default-signal=INT,QUIT .venv/bin/python -m pytest "$@" || status=$?
.venv/bin/python scripts/leaks.py --compare "$before" || status=1
exit $status
