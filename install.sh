#!/usr/bin/env bash
# Sets Pier up on this machine and runs a first container. Safe to run again.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/bootstrap.sh

PIER=/usr/local/bin/pier
LOG=/var/log/pier.log

check_machine
install_packages "${RUN_PACKAGES[@]}"
make_venv requirements.lock
install_launcher "$PIER"
getent group pier >/dev/null || groupadd --system pier

# The daemon of this machine, whatever DOCKER_HOST and the like say.
pier() { "$PIER" -H unix:///run/pier/pier.sock "$@"; }
answers() { pier version >/dev/null 2>&1; }

# wait_until_ready [PID]: until it answers; not longer than PID lives.
wait_until_ready() {
    local _
    for _ in $(seq 300); do
        answers && return
        [ -z "${1:-}" ] || kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$LOG" >&2 2>/dev/null || true
    die "the daemon does not answer; see $LOG or journalctl -u pier"
}

if answers; then
    say "the daemon already runs"
elif [ -d /run/systemd/system ]; then
    say "starting pier.service"
    sed "s|@PIER@|$PIER|" scripts/pier.service > /etc/systemd/system/pier.service
    systemctl daemon-reload
    systemctl enable --now pier.service
    wait_until_ready
else
    say "starting the daemon in the background (no systemd here); its log is $LOG"
    setsid "$PIER" daemon --pidfile /run/pier/pier.pid >> "$LOG" 2>&1 < /dev/null &
    wait_until_ready $!
fi

say "running a first container"
pier run --rm busybox echo "Hello from a container. Pier works."
say "try:  pier run -it --rm busybox sh
     docker -H unix:///run/pier/pier.sock ps     (Docker's own client, if you have it)"
