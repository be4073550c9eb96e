"""The daemon may be killed at any instruction: containers go on, nothing is lost or left over."""

import sqlite3
import subprocess
import threading
import time
from pathlib import Path

from tests.daemon import Daemon, wait_until

WRITERS = 20


def test_running_containers_are_adopted_and_no_line_is_missing(own_daemon: Daemon) -> None:
    daemon = own_daemon
    script = "i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); usleep 20000; done"
    for number in range(WRITERS):
        daemon.docker("run", "-d", "--name", f"w{number}", "busybox", "sh", "-c", script)
    for _ in range(2):
        time.sleep(0.5)
        daemon.kill()
        time.sleep(0.3)
        daemon.start()
    running = daemon.docker("ps", "-q").split()
    assert len(running) == WRITERS
    for number in range(WRITERS):
        daemon.docker("kill", f"w{number}")
        lines = [int(line) for line in daemon.docker("logs", f"w{number}").split()]
        assert len(lines) > 20
        assert lines == list(range(len(lines)))
    assert daemon.docker("exec", "w0", "true", status=1)


def test_an_exit_while_the_daemon_is_away_is_found(own_daemon: Daemon) -> None:
    own_daemon.docker("run", "-d", "--name", "short", "busybox", "sh", "-c",
                      "sleep 0.5; echo bye; exit 4")  # fmt: skip
    own_daemon.kill()
    time.sleep(1)
    own_daemon.start()
    shown = own_daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "short")
    assert shown == "exited 4\n"
    assert own_daemon.docker("logs", "short") == "bye\n"


def test_killed_during_a_loop_of_runs_nothing_is_left(own_daemon: Daemon) -> None:
    daemon = own_daemon
    stop = threading.Event()

    def run_and_run() -> None:
        while not stop.is_set():
            subprocess.run(
                ["docker", "-H", daemon.host, "run", "--rm", "busybox", "true"],
                capture_output=True, check=False, timeout=60,
            )  # fmt: skip

    clients = [threading.Thread(target=run_and_run) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for pause_s in (0.35, 0.61, 0.83, 0.47, 0.71, 0.93):
            time.sleep(pause_s)
            daemon.kill()
            daemon.start()
    finally:
        stop.set()
        for client in clients:
            client.join()
    daemon.restart()
    wait_until(lambda: daemon.docker("ps", "-q") == "", "no container runs")
    daemon.remove_all()
    assert leftovers(daemon) == []


def leftovers(daemon: Daemon) -> list[str]:
    """What is there although no container is."""
    found = [str(path) for path in (daemon.data_root / "containers").iterdir()]
    found += [str(path) for path in (daemon.exec_root / "containers").iterdir()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if str(daemon.root) in line]
    groups = Path("/sys/fs/cgroup")
    for pattern in (f"pier-test/{daemon.bridge}/*", f"*/pier-test/{daemon.bridge}/*/"):
        found += [str(path) for path in groups.glob(pattern) if path.is_dir()]
    links = subprocess.run(["ip", "-o", "link", "show", "master", daemon.bridge],
                           capture_output=True, text=True, check=False).stdout  # fmt: skip
    pool = 8  # ready-made sandboxes have a veth each
    if links.count("veth") > pool:
        found.append(links)
    return found


def test_a_pause_that_was_never_told_is_undone(own_daemon: Daemon) -> None:
    """By a commit, or by a pause the daemon did not live to record: it could not be killed."""
    daemon = own_daemon
    daemon.docker("run", "-d", "--name", "one", "busybox", "sleep", "600")
    container = daemon.docker("inspect", "-f", "{{.Id}}", "one").strip()
    states = list(Path("/sys/fs/cgroup").glob(f"*/pier-test/*/{container}/freezer.state"))
    states += list(Path("/sys/fs/cgroup").glob(f"pier-test/*/{container}/cgroup.freeze"))
    frozen = {"freezer.state": "FROZEN", "cgroup.freeze": "1"}
    for committing in (False, True):
        if committing:
            daemon.docker("pause", "one")
            (daemon.exec_root / "containers" / container / "frozen-for-commit").touch()
        daemon.kill()
        states[0].write_text(frozen[states[0].name])
        daemon.start()
        shown = daemon.docker("inspect", "-f", "{{.State.Status}}", "one")
        assert shown == "running\n"
        assert daemon.docker("exec", "one", "echo", "on") == "on\n"
    daemon.docker("rm", "-f", "one")


def test_a_removal_is_finished_as_it_was_asked_for(own_daemon: Daemon) -> None:
    """With or without its anonymous volumes: the record says which."""
    daemon = own_daemon
    for name in ("gone", "kept"):
        daemon.docker("create", "--name", name, "-v", "/data", "busybox")
    shown = "{{range .Mounts}}{{.Name}}{{end}}"
    volumes = {
        name: daemon.docker("inspect", "-f", shown, name).strip() for name in ("gone", "kept")
    }
    daemon.kill()
    records = sqlite3.connect(daemon.data_root / "pier.db")
    with records:
        records.execute("UPDATE containers SET state = 'removing'")
        records.execute(
            "UPDATE containers SET mounts_json = replace(mounts_json, ?, ?) WHERE name = 'kept'",
            ('"anonymous":true', '"anonymous":false'),
        )
    records.close()
    daemon.start()
    assert daemon.docker("ps", "-aq") == ""
    assert daemon.docker("volume", "ls", "-q").split() == [volumes["kept"]]
    daemon.docker("run", "--name", "gone", "-v", "/data", "busybox", "true")
    daemon.docker("rm", "-v", "gone")
    assert daemon.docker("volume", "ls", "-q").split() == [volumes["kept"]]
    daemon.docker("volume", "rm", volumes["kept"])
