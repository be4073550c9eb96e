"""What `pier build` adds to Docker's classic client: checks, agents, contexts, a terminal."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon, wait_until
from tests.engine.test_build import Directory, leftovers, processes, said
from tests.root.build_bench import context_tar
from tests.terminal import Terminal

PIER = [sys.executable, "-m", "pier"]


@pytest.fixture(autouse=True)
def classic_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")


@pytest.fixture
def context(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "context")


# Checks


def test_a_dockerfile_is_checked_and_nothing_is_built(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox as b\nRUN exit 9\nCMD sh\n")
    told = daemon.pier("build", "--check", str(context), status=1)
    assert "Check complete, 2 warnings have been found!" in told
    assert "WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/" in told
    assert "   3 | >>> CMD sh\n" in told
    assert "Step" not in told
    context.dockerfile('FROM busybox AS b\nRUN exit 9\nCMD ["sh"]\n')
    told = daemon.pier("build", "--call", "check", str(context))
    assert told.endswith("Check complete, no warnings found.\n")
    context.dockerfile("FROM busybox\nCOPI a /\n")
    assert "unknown instruction: COPI" in daemon.pier("build", "--check", str(context), status=1)
    refused = daemon.pier("build", "--call", "outline", str(context), status=1)
    assert "--call=outline is not supported" in refused
    assert leftovers(daemon) == []


def test_findings_are_warnings_at_the_end_of_a_build(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN true\nCMD sh $X\nENV A=$UNKNOWN\n")
    for program in (daemon.docker, daemon.pier):
        output = program("build", str(context))
        before, _, after = output.rpartition("[Warning] JSONArgsRecommended")
        assert "Step 4/4" in before
        assert "[Warning] UndefinedVar: Usage of undefined variable '$UNKNOWN' (line 4)" in after
        assert "Successfully built" in after
    words = ("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all")
    assert "Warning" not in daemon.docker("build", *words, str(context))
    context.dockerfile("# check=error=true\nFROM busybox\nRUN true\nCMD sh\n")
    failed = daemon.docker("build", str(context), status=1)
    assert "lint violation found for rules: JSONArgsRecommended" in failed
    assert "Step" not in failed


def test_the_base_of_a_check_is_asked_of_its_registry_and_not_pulled(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    with pier_registry(tmp_path / "registry") as host:
        base = f"{host}/base:1"
        text = b"FROM busybox\nENV KNOWN=1\n"
        daemon.docker("build", "-t", base, "-", stdin=text)
        daemon.docker("push", "-q", base)
        daemon.docker("rmi", base)
        context.dockerfile(f"FROM {base}\nENV A=$KNOWN B=$UNKNOWN\n")
        told = daemon.pier("build", "--check", str(context), status=1)
        assert "undefined variable '$UNKNOWN'" in told
        assert "$KNOWN'" not in told
        assert "1 warning has been found" in told
        assert base not in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}")


# Caches and bases in registries


@pytest.mark.parametrize("program", ["docker", "pier"])
def test_a_cache_that_is_not_here_is_pulled_when_a_step_is_in_it(
    own_daemon: Daemon, context: Directory, tmp_path: Path, program: str
) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /one\nENV A=b\nRUN echo 2 > /two\n")
    run = getattr(own_daemon, program)
    with pier_registry(tmp_path / "registry") as host:
        warm = f"{host}/warm:1"
        own_daemon.docker("build", "-t", warm, str(context))
        own_daemon.docker("push", "-q", warm)

        def forget() -> None:
            own_daemon.docker("rmi", warm)
            own_daemon.docker("builder", "prune", "-af")

        forget()
        output = run("build", "--cache-from", warm, "-t", "made", str(context))
        assert "Downloaded newer image" in output
        assert said(output, "Using cache") >= 2
        assert "Running in" not in output
        assert own_daemon.docker("run", "--rm", "made", "cat", "/one", "/two") == "1\n2\n"
        forget()
        own_daemon.docker("rmi", "made")
        context.dockerfile("FROM busybox\nRUN echo other > /one\n")
        output = run("build", "--cache-from", warm, str(context))
        assert "Downloaded" not in output
        assert said(output, "Using cache") == 0
    context.dockerfile("FROM busybox\nRUN echo unreachable > /one\n")
    output = run("build", "--cache-from", warm, str(context))
    assert f"[Warning] importing cache from {warm} failed" in output
    assert "Successfully built" in output


def test_a_base_images_pull_is_told(daemon: Daemon, tmp_path: Path) -> None:
    with pier_registry(tmp_path / "registry") as host:
        base = f"{host}/pulled:1"
        daemon.docker("tag", "busybox", base)
        daemon.docker("push", "-q", base)
        daemon.docker("rmi", base)
        output = daemon.docker("build", "-", stdin=f"FROM {base}\n".encode())
        assert "1: Pulling from pulled" in output
        assert f"Status: Downloaded newer image for {base}" in output
        assert output.index("Step 1/1") < output.index("Pulling from") < output.index(" ---> ")
        daemon.docker("rmi", base)
        quiet = daemon.docker("build", "-q", "-", stdin=f"FROM {base}\n".encode())
        assert quiet.startswith("sha256:")
        assert quiet.count("\n") == 1


def test_pull_asks_for_every_image_once(daemon: Daemon, tmp_path: Path) -> None:
    with pier_registry(tmp_path / "registry") as host:
        base, other = f"{host}/base:1", f"{host}/other:1"
        for version in (b"1", b"2"):
            text = b"FROM busybox\nRUN echo " + version + b" > /v\n"
            for name in (base, other):
                daemon.docker("build", "-t", name, "-", stdin=text)
                daemon.docker("push", "-q", name)
        for name in (base, other):
            daemon.docker("build", "-t", name, "-", stdin=b"FROM busybox\nRUN echo old > /v\n")
        dockerfile = (
            f"FROM {base} AS a\nFROM {base}\nCOPY --from={other} /v /w\n"
            f"COPY --from=a /v /x\nRUN --mount=from={other},target=/m cat /v /w /x /m/v\n"
        ).encode()
        assert "\nold\nold\nold\nold\n" in daemon.docker("build", "-", stdin=dockerfile)
        output = daemon.docker("build", "--pull", "-", stdin=dockerfile)
        assert "\n2\n2\n2\n2\n" in output
        assert said(output, "Pulling from base") == 1
        assert said(output, "Pulling from other") == 1


def test_each_stage_is_of_its_own_platform(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    with pier_registry(tmp_path / "registry") as host:
        multi, names = f"{host}/multi:1", []
        for machine in ("amd64", "arm64"):
            archive = context_tar({"Dockerfile": "FROM scratch\nCOPY m /m\n", "m": machine})
            names.append(f"{host}/{machine}:1")
            daemon.docker("build", "-t", names[-1], "--platform", f"linux/{machine}", "-",
                          stdin=archive)  # fmt: skip
            daemon.docker("push", "-q", names[-1])
        daemon.docker("manifest", "create", "--insecure", multi, *names)
        daemon.docker("manifest", "push", "--insecure", multi)
        dockerfile = (
            f"ARG OTHER=linux/arm64\nFROM --platform=$OTHER {multi} AS other\n"
            f"FROM --platform=$BUILDPLATFORM {multi} AS same\n"
            "FROM busybox\nARG TARGETPLATFORM\nARG BUILDPLATFORM\n"
            "COPY --from=other /m /other\nCOPY --from=same /m /same\n"
            f"COPY --from={multi} /m /asked\n"
            "RUN echo $(cat /other /same /asked) $BUILDPLATFORM $TARGETPLATFORM\n"
        ).encode()
        wanted = "arm64amd64amd64 linux/amd64 linux/amd64"
        assert f"\n{wanted}\n" in daemon.docker("build", "-", stdin=dockerfile)
        asked = f"FROM {multi}\nARG TARGETARCH\nLABEL of=$TARGETARCH\n".encode()
        image = daemon.docker("build", "-q", "--platform", "linux/arm64", "-", stdin=asked)
        shown = json.loads(daemon.docker("image", "inspect", image.strip()))[0]
        assert (shown["Architecture"], shown["Config"]["Labels"]) == ("arm64", {"of": "arm64"})


# Named contexts


def test_an_oci_layout_is_a_context(daemon: Daemon, context: Directory, tmp_path: Path) -> None:
    text = b"FROM busybox\nRUN echo of-the-layout > /f\nENV FROM_LAYOUT=yes\n"
    daemon.docker("build", "-t", "layout:one", "-", stdin=text)
    layout = tmp_path / "layout"
    daemon.pier("build", "-t", "layout:one", "-o", f"type=oci,dest={tmp_path}/l.tar", "-",
                stdin=text)  # fmt: skip
    with tarfile.open(tmp_path / "l.tar") as tar:
        tar.extractall(layout, filter="data")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    daemon.docker("rmi", "layout:one")
    context.dockerfile(
        "FROM base\nCOPY --from=files /f /g\nRUN cat /f /g && test $FROM_LAYOUT = yes\n"
        "RUN --mount=from=files,target=/m cat /m/f\n"
    )
    for selector in ("", ":one", f"@{digest}"):
        words = [f"--build-context={name}=oci-layout://{layout}{selector}"
                 for name in ("base", "files")]  # fmt: skip
        output = daemon.pier("build", "--no-cache", *words, str(context))
        assert said(output, "of-the-layout\n") == 3
    for selector in (":two", "@sha256:" + "0" * 64):
        words = [f"--build-context=base=oci-layout://{layout}{selector}"]
        refused = daemon.pier("build", *words, str(context), status=1)
        assert f"invalid OCI layout: it has no image {selector}" in refused
    assert "layout:one" not in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert leftovers(daemon) == []


def test_a_layout_with_links_to_the_host_is_refused(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    (layout / "blobs").mkdir(parents=True)
    (tmp_path / "index.json").write_text('{"manifests": []}')
    (layout / "index.json").symlink_to(tmp_path / "index.json")
    (layout / "blobs/sha256").symlink_to("/etc")
    context.dockerfile("FROM base\n")
    words = ("--build-context", f"base=oci-layout://{layout}")
    assert "index.json is missing" in daemon.pier("build", *words, str(context), status=1)
    (layout / "index.json").unlink()
    (layout / "index.json").write_text('{"manifests": [{"digest": "sha256:00"}]}')
    assert "blobs/sha256 is missing" in daemon.pier("build", *words, str(context), status=1)


def test_a_stage_is_a_context(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM nowhere.invalid/base\nRUN cat /f\nFROM busybox AS made\nRUN echo x > /f\n"
    )
    words = ("--build-context", "nowhere.invalid/base=target:made", "--target", "0")
    assert "\nx\n" in daemon.pier("build", *words, str(context))


# Agents


@contextlib.contextmanager
def agent(directory: Path) -> Iterator[Path]:
    """A real agent that holds one key."""
    path = directory / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        wait_until(path.exists, "the agent listens")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "the-key",
                        "-f", str(directory / "key")], check=True)  # fmt: skip
        subprocess.run(["ssh-add", "-q", str(directory / "key")], check=True,
                       env={**os.environ, "SSH_AUTH_SOCK": str(path)})  # fmt: skip
        yield path
    finally:
        process.terminate()
        process.wait()


def copy_program(name: str, root: Path) -> None:
    """A program of this machine and the libraries it needs, below `root`."""
    program = shutil.which(name)
    assert program
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in [program, *re.findall(r"(/\S+) \(", listed)]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs ssh-agent")
def test_an_agent_answers_in_a_run_and_to_its_user_only(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    copy_program("ssh-add", context.path / "root")
    context.dockerfile(
        "FROM busybox\nCOPY root/ /\nENV PATH=/bin:/usr/bin\n"
        "RUN --mount=type=ssh ssh-add -l && echo at $SSH_AUTH_SOCK\n"
        "RUN --mount=type=ssh,id=second,target=/run/a,uid=7,gid=8,mode=0660 "
        "--mount=type=ssh stat -c 'as %a %u %g' /run/a && echo first $SSH_AUTH_SOCK\n"
        "USER 1000\n"
        "RUN --mount=type=ssh,uid=1000 ssh-add -l && echo user $(id -u)\n"
        "RUN --mount=type=ssh ! ssh-add -l && echo shut\n"
        'RUN test -z "$SSH_AUTH_SOCK" && ! test -e /run/buildkit\n'
    )
    with agent(tmp_path) as path:
        words = ("--ssh", f"default={path}", "--ssh", f"second={path}")
        output = daemon.pier("build", "--no-cache", *words, str(context))
    assert said(output, "the-key (ED25519)") == 2
    for line in ("at /run/buildkit/ssh_agent.0", "as 660 7 8", "first /run/a", "user 1000", "shut"):
        assert f"\n{line}\n" in output
    assert leftovers(daemon) == []
    context.dockerfile("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert "ssh agent default: not found" in daemon.pier("build", str(context), status=1)


# Results and rights


def test_metadata_and_stages_without_the_cache(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    context.dockerfile("FROM busybox AS a\nRUN echo 1 > /f\nFROM a AS b\nRUN echo 2 > /g\n")
    path, iidfile = tmp_path / "metadata", tmp_path / "iid"
    words = ("--metadata-file", str(path), "--iidfile", str(iidfile), "-o", "type=image,name=x:y")
    daemon.pier("build", "-t", "meta", *words, str(context))
    assert json.loads(path.read_text()) == {
        "containerimage.config.digest": iidfile.read_text(),
        "image.name": "docker.io/library/meta:latest,docker.io/library/x:y",
    }
    daemon.docker("rmi", "x:y")
    output = daemon.pier("build", "--explain", "--no-cache-filter", "b", str(context))
    assert said(output, "Using cache") == 1
    assert "caching is off for this stage (--no-cache-filter)" in output


def test_the_clients_epoch_is_the_builds(
    daemon: Daemon, context: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /f\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    daemon.pier("build", "-t", "epoch", str(context))
    shown = json.loads(daemon.docker("image", "inspect", "epoch"))[0]
    assert shown["Created"] == "2020-09-13T12:26:40Z"
    told = daemon.docker("run", "--rm", "epoch", "stat", "-c", "%Y", "/f")
    assert told == "1600000000\n"


def test_the_machines_network_is_for_who_is_allowed(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN --network=host ls /sys/class/net\n")
    refused = daemon.docker("build", str(context), status=1)
    assert "dockerfile parse error on line 2: network.host is not allowed" in refused
    for words in (["--allow", "network.host"], ["--network", "host"]):
        output = daemon.pier("build", "--no-cache", *words, str(context))
        assert f"\n{daemon.bridge}\n" in output


def test_the_cache_is_pruned_by_what_it_is(own_daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=cache,target=/c head -c 50000 /dev/zero > /c/f\n"
        "RUN head -c 100000 /dev/zero > /z\n"
    )
    own_daemon.docker("build", "-t", "kept", str(context))

    def rows() -> list[tuple[str, str, str]]:
        shown = own_daemon.docker("system", "df", "-v", "--format", "json")
        return [(row["CacheType"], row["Size"], row["Shared"])
                for row in json.loads(shown)["BuildCache"]]  # fmt: skip

    assert ("exec.cachemount", "50kB", "false") in rows()
    assert ("regular", "100kB", "true") in rows()
    pruned = own_daemon.docker("builder", "prune", "-f", "--filter", "type=regular")
    assert "100kB" not in pruned
    pruned = own_daemon.docker("builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert "50kB" in pruned
    assert ("regular", "100kB", "true") in rows()
    own_daemon.docker("rmi", "kept")
    for words in (("--filter", "until=1h"), ("--keep-storage", "1MB"), ("--filter", "inuse=true")):
        own_daemon.docker("builder", "prune", "-af", *words)
    assert ("regular", "100kB", "false") in rows()
    refused = own_daemon.docker("builder", "prune", "-f", "--filter", "inuse=maybe", status=1)
    assert "invalid filter 'inuse=maybe'" in refused
    own_daemon.docker("builder", "prune", "-af", "--filter", "description=none")
    assert "100kB" in own_daemon.docker("builder", "prune", "-af")


# A terminal


def test_parallel_stages_are_shown_side_by_side(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox AS one\nRUN echo first-speaks; sleep 2\n"
        "FROM busybox AS two\nRUN echo second-speaks; sleep 2\n"
        "FROM busybox\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\n"
    )
    with on_terminal(daemon, "build", "--no-cache", str(context)) as terminal:
        shown = terminal.expect("| first-speaks") + terminal.expect("| second-speaks")
        assert "=> [2/7] RUN echo first-speaks; sleep 2" in shown
        assert "=> [4/7] RUN echo second-speaks; sleep 2" in shown
        rest = terminal.expect("Successfully built")
        assert re.search(r"\[2/7\] RUN echo first-speaks; sleep 2 +2\.\ds", rest)
        assert re.search(r"\[4/7\] RUN echo second-speaks; sleep 2 +2\.\ds", rest)
        assert terminal.process.wait(10) == 0


def test_the_output_of_a_failing_step_is_shown_with_its_line(
    daemon: Daemon, context: Directory
) -> None:
    context.dockerfile("FROM busybox\n\nRUN echo what-went-wrong; exit 3\n")
    with on_terminal(daemon, "build", str(context)) as terminal:
        terminal.expect("[2/2] RUN echo what-went-wrong; exit 3\r\n   | what-went-wrong\r\n")
        terminal.expect("Dockerfile:3\r\n")
        terminal.expect("returned a non-zero code: 3")
        assert terminal.process.wait(10) == 3


def test_ctrl_c_ends_all_runs_and_leaves_nothing(daemon: Daemon, context: Directory) -> None:
    marks = [f"6{os.getpid()}{number}" for number in range(2)]
    context.dockerfile(
        f"FROM busybox AS one\nRUN --mount=type=cache,target=/c sleep {marks[0]}\n"
        f"FROM busybox\nRUN --mount=type=tmpfs,target=/t sleep {marks[1]}\nCOPY --from=one / /\n"
    )
    with on_terminal(daemon, "build", "--no-cache", str(context)) as terminal:
        terminal.expect("=> [4/5]")
        wait_until(lambda: all(processes(mark) for mark in marks), "both run")
        terminal.enter("\x03")
        assert terminal.process.wait(10) == 130
    wait_until(lambda: not any(processes(mark) for mark in marks), "both are gone")
    wait_until(lambda: leftovers(daemon) == [], f"nothing is left: {leftovers(daemon)}")


def on_terminal(daemon: Daemon, *words: str) -> Terminal:
    return Terminal([*PIER, *words], {**os.environ, "PIER_HOST": daemon.host, "TERM": "xterm"})


def test_the_daemons_own_limits_hold_in_a_run(tmp_path: Path, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN ulimit -n; ulimit -Hn\n")
    with Daemon(tmp_path / "limited", "--default-ulimit", "nofile=70:80") as daemon:
        assert "\n70\n80\n" in daemon.docker("build", str(context))
        words = ("--no-cache", "--ulimit", "nofile=60:61")
        assert "\n60\n61\n" in daemon.docker("build", *words, str(context))


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
