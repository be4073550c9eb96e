#!/usr/bin/env bash
# Sets Pier up on this machine and runs a first container. Safe to run again.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/bootstrap.sh

check_machine
install_packages "${RUN_PACKAGES[@]}"
make_venv requirements.lock
ln -sf "$PWD/.venv/bin/pier" /usr/local/bin/pier
getent group pier >/dev/null || groupadd --system pier

answers() { pier version >/dev/null 2>&1; }

if answers; then
    say "the daemon already runs"
elif [ -d /run/systemd/system ]; then
    say "starting pier.service"
    sed "s|@PIER@|$PWD/.venv/bin/pier|" scripts/pier.service > /etc/systemd/system/pier.service
    systemctl daemon-reload
    systemctl enable --now pier.service
else
    say "starting the daemon in the background (no systemd here); its log is /var/log/pier.log"
    setsid pier daemon --pidfile /run/pier/pier.pid >> /var/log/pier.log 2>&1 < /dev/null &
fi

for _ in $(seq 100); do
    answers && break
    sleep 0.1
done
answers || die "the daemon does not answer; see /var/log/pier.log or journalctl -u pier"

say "running a first container"
pier run --rm busybox echo "Hello from a container. Pier works."
say "try:  pier run -it --rm busybox sh
     docker -H unix:///run/pier/pier.sock ps     (Docker's own client, if you have it)"
