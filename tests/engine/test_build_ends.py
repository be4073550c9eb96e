"""Builds that end early: interrupted, or with their daemon."""

import os
import signal
import subprocess
import threading

import pytest

from tests.daemon import Daemon, wait_until
from tests.engine.build_support import PIER, Directory, leftovers, processes, said

pytestmark = pytest.mark.usefixtures("classic_builder")


@pytest.mark.parametrize("program", [["docker"], PIER], ids=["docker", "pier"])
def test_an_interrupt_kills_the_run_and_leaves_nothing(
    daemon: Daemon, context: Directory, program: list[str]
) -> None:
    mark = f"9{os.getpid()}{len(program)}"
    context.dockerfile(f"FROM busybox\nRUN --mount=type=cache,target=/c sleep {mark}\n")
    environment = {**os.environ, "DOCKER_HOST": daemon.host, "PIER_HOST": daemon.host}
    building = subprocess.Popen(
        [*program, "build", str(context)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: processes(mark), "the RUN runs")
    building.send_signal(signal.SIGINT)
    building.wait(10)
    wait_until(lambda: not processes(mark), "the RUN is gone")
    wait_until(lambda: leftovers(daemon) == [], f"nothing is left: {leftovers(daemon)}")


def test_killed_in_a_run_nothing_is_left_and_the_cache_is_sound(
    own_daemon: Daemon, context: Directory
) -> None:
    daemon = own_daemon
    mark = f"8{os.getpid()}"
    context.dockerfile(
        "FROM busybox AS a\nRUN echo done > /done\n"
        f"RUN test -e /go || sleep {mark}; echo half > /half\nFROM a\nRUN cat /half /done\n"
    )
    building = threading.Thread(target=daemon.run, args=(["docker", "build", str(context)],))
    building.start()
    wait_until(lambda: processes(mark), "the RUN runs")
    daemon.kill()
    building.join()
    daemon.start()
    wait_until(lambda: not processes(mark), "the RUN is gone")
    assert leftovers(daemon) == []
    context.dockerfile(
        "FROM busybox AS a\nRUN echo done > /done\n"
        "RUN echo whole > /half\nFROM a\nRUN cat /half /done\n"
    )
    output = daemon.docker("build", str(context))
    assert said(output, "Using cache") == 1
    assert "\nwhole\ndone\n" in output
    assert said(daemon.docker("build", str(context)), "Using cache") == 3


def test_a_daemon_that_stops_ends_its_builds(own_daemon: Daemon, context: Directory) -> None:
    mark = f"5{os.getpid()}"
    context.dockerfile(f"FROM busybox\nRUN sleep {mark}\n")
    outputs: list[str] = []

    def build() -> None:
        outputs.append(own_daemon.docker("build", str(context), status=1))

    building = threading.Thread(target=build)
    building.start()
    wait_until(lambda: processes(mark), "the RUN runs")
    own_daemon.stop()
    building.join()
    assert "the build was stopped: the daemon is shutting down" in outputs[0]
    assert processes(mark) == []
    assert leftovers(own_daemon) == []
    assert "Traceback" not in own_daemon.log.read_text()
    own_daemon.start()
