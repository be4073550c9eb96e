"""An image that is made is told: by a build, a commit, an import."""

import json
import time

import pytest

from tests.daemon import Daemon
from tests.engine.archives import tar_of
from tests.engine.build_support import Directory


@pytest.mark.usefixtures("classic_builder")
def test_what_is_made_is_created_and_what_is_named_is_tagged(
    daemon: Daemon, context: Directory
) -> None:
    since = f"{time.time():.9f}"
    context.dockerfile("FROM busybox\nRUN true\n")
    daemon.docker("build", "-q", "--no-cache", "-t", "built", str(context))
    daemon.docker("create", "--name", "box", "busybox")
    daemon.docker("commit", "box", "committed")
    nameless = daemon.docker("commit", "box").strip()
    daemon.docker("import", "-", "imported", stdin=tar_of({"file": b"x"}))
    until = f"{time.time():.9f}"
    arguments = ("--since", since, "--until", until, "--filter", "type=image")
    shown = daemon.docker("events", *arguments, "--format", "{{json .}}").splitlines()
    ids = {
        name: daemon.docker("inspect", "-f", "{{.Id}}", name).strip()
        for name in ("built", "committed", "imported")
    }
    told = [(event["Action"], event["Actor"]) for event in map(json.loads, shown)]
    assert [(action, actor["ID"], actor["Attributes"]["name"]) for action, actor in told] == [
        ("create", ids["built"], ids["built"]),
        ("tag", ids["built"], "built:latest"),
        ("create", ids["committed"], ids["committed"]),
        ("tag", ids["committed"], "committed:latest"),
        ("create", nameless, nameless),
        ("tag", ids["imported"], "imported:latest"),
        ("import", ids["imported"], ids["imported"]),
    ]
    daemon.remove_all()
