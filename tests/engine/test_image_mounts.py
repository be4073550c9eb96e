"""`--mount type=image`: an image's files, read-only, in a container of another image."""

import json
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.docker_client import needs_docker_28


@pytest.fixture(scope="module", autouse=True)
def tools(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY dir /dir\nCOPY top /\n")
    (context / "dir").mkdir()
    (context / "dir" / "file").write_text("deep\n")
    (context / "top").write_text("top\n")
    daemon.pier("build", "-q", "-t", "tools", str(context))
    return daemon.docker("inspect", "-f", "{{.Id}}", "tools").strip()


@needs_docker_28
def test_its_files_are_there_and_cannot_be_changed(daemon: Daemon) -> None:
    mount = "type=image,source=tools,target=/tools"
    shown = daemon.docker("run", "--rm", "--mount", mount, "busybox", "cat", "/tools/dir/file")
    assert shown == "deep\n"
    written = daemon.docker("run", "--rm", "--mount", mount, "busybox", "touch", "/tools/x",
                            status=1)  # fmt: skip
    assert "Read-only file system" in written
    part = f"{mount},image-subpath=dir"
    assert daemon.docker("run", "--rm", "--mount", part, "busybox", "ls", "/tools") == "file\n"
    one = f"{mount},image-subpath=top"
    assert daemon.pier("run", "--rm", "--mount", one, "busybox", "cat", "/tools") == "top\n"


@needs_docker_28
def test_a_subpath_that_is_not_there(daemon: Daemon) -> None:
    mount = "type=image,source=tools,target=/tools,image-subpath=none"
    said = daemon.docker("run", "--rm", "--mount", mount, "busybox", "true", status=127)
    assert "cannot access path tools/none: lstat tools/none: no such file or directory" in said


def test_an_image_that_is_not_here_is_not_found(daemon: Daemon) -> None:
    mount = {"Type": "image", "Source": "nowhere:1", "Target": "/x"}
    body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
    assert daemon.api("POST", "/v1.48/containers/create", body) == (
        404,
        {"message": "No such image: nowhere:1"},
    )
    status, answer = daemon.api("POST", "/v1.47/containers/create", body)
    assert status == 400
    assert "requires API version 1.48" in answer["message"]


@needs_docker_28
def test_it_is_in_use_while_a_container_mounts_it(
    daemon: Daemon, tools: str, tmp_path: Path
) -> None:
    daemon.docker("run", "-d", "--name", "user", "--mount", "type=image,src=tools,dst=/t",
                  "busybox", "sleep", "300")  # fmt: skip
    point = json.loads(daemon.docker("inspect", "-f", "{{json .Mounts}}", "user"))[0]
    assert (point["Type"], point["Name"], point["Source"], point["RW"]) == (
        "image", "tools", tools, False,
    )  # fmt: skip
    assert "is using its referenced image" in daemon.docker("rmi", "tools", status=1)
    assert "cannot be forced" in daemon.docker("rmi", "-f", tools, status=1)
    assert tools not in daemon.docker("image", "prune", "-af")
    daemon.restart()
    assert daemon.docker("exec", "user", "cat", "/t/top") == "top\n"
    daemon.docker("cp", "user:/t/top", str(tmp_path / "running"))
    daemon.docker("stop", "-t", "0", "user")
    daemon.docker("cp", "user:/t/dir/file", str(tmp_path / "stopped"))
    assert (tmp_path / "stopped").read_text() == "deep\n"
    assert "stopped container" in daemon.docker("rmi", tools, status=1)
    daemon.docker("start", "user")
    assert daemon.docker("exec", "user", "cat", "/t/top") == "top\n"
    daemon.docker("rm", "-f", "user")
    daemon.docker("rmi", "tools")


@needs_docker_28
def test_a_container_keeps_what_it_mounts_of_an_image_that_was_removed_by_force(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /dir/\n")
    (tmp_path / "file").write_text("deep\n")
    daemon.pier("build", "-q", "-t", "short-lived", str(tmp_path))
    mount = "type=image,src=short-lived,dst=/t,image-subpath=dir"
    daemon.docker("create", "--name", "keeper", "--mount", mount, "busybox", "cat", "/t/file")
    daemon.docker("rmi", "-f", "short-lived")
    daemon.docker("image", "prune", "-f")
    daemon.restart()
    assert daemon.docker("start", "-a", "keeper") == "deep\n"
    daemon.docker("rm", "keeper")


@needs_docker_28
def test_an_image_without_layers_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    daemon.pier("build", "-q", "-t", "nothing", str(tmp_path))
    mount = "type=image,source=nothing,target=/x"
    assert "no layers" in daemon.docker("create", "--mount", mount, "busybox", status=1)
