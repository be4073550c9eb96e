#!/usr/bin/env bash
# Runs the whole test suite on this machine: units, the kernel, whole daemons, the real clients.
# Arguments go to pytest. Fails too if a test left something behind on the machine.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/bootstrap.sh

check_machine
install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
make_venv requirements-test.lock

# The docker client: the machine's, or the one inside Debian's package (its daemon is not installed).
if ! command -v docker >/dev/null; then
    if [ ! -x .cache/docker/usr/bin/docker ]; then
        say "fetching the docker client"
        mkdir -p .cache/docker
        (cd .cache && apt-get download -qq docker.io && dpkg-deb -x docker.io_*.deb docker && rm docker.io_*.deb)
    fi
    export PATH="$PWD/.cache/docker/usr/bin:$PATH"
fi

before=$(mktemp)
trap 'rm -f "$before"' EXIT
.venv/bin/python scripts/leaks.py > "$before"
status=0
.venv/bin/python -m pytest "$@" || status=$?
.venv/bin/python scripts/leaks.py --compare "$before" || status=1
exit $status
