"""What is wrong with a Dockerfile, a step or an option is told, with its place."""

from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon
from tests.engine.build_support import Directory, leftovers

pytestmark = pytest.mark.usefixtures("classic_builder")


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox\n\nRUM x\n", "dockerfile parse error on line 3: unknown instruction: RUM"),
        ("FROM busybox\nCOPY none /\n", "file not found in build context"),
        ("FROM busybox\nCOPY --from=later . /\n", "later"),
        ("# nothing\n", "file with no instructions"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("FROM busybox\nRUN --mount=type=nothing true\n", "line 2"),
        ("FROM busybox\nCOPY ../../etc/passwd /p\n", "file not found in build context"),
    ],
)
def test_errors_name_the_place(
    daemon: Daemon, context: Directory, dockerfile: str, words: str
) -> None:
    context.dockerfile(dockerfile)
    assert words in daemon.docker("build", str(context), status=1)
    assert leftovers(daemon) == []


def test_a_failed_run_is_told_with_its_line_and_code(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\n\nRUN echo spoken; exit 7\n")
    told = "The command '/bin/sh -c echo spoken; exit 7' returned a non-zero code: 7"
    theirs = daemon.docker("build", str(context), status=7)
    assert "spoken\n" in theirs
    assert told in theirs
    assert f"Dockerfile:3\n{told}\n" in daemon.pier("build", str(context), status=7)
    for program in (daemon.docker, daemon.pier):
        assert "spoken\n" in program("build", "-q", str(context), status=7)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--progress wild", "invalid progress mode"),
        ("-o type=registry", "not supported"),
        ("-o type=local", "needs a directory"),
        ("-o type=tar,dest=x,compression=zstd", "'compression' is not supported"),
        ("--push", "pier push"),
        ("--cache-to type=gha", "not supported"),
        ("--secret src=x", "id is required"),
        ("--secret id=x,src=/does/not/exist", "No such file"),
        ("--ssh default=/does/not/exist", "no such file"),
        ("--security-opt no-new-privileges", "does not support setting security options"),
        ("--isolation hyperv", "invalid isolation"),
        ("--allow everything", "unknown entitlement"),
        ("--platform no/such/plat/form", "cannot parse platform specifier"),
        ("--platform linux/amd64,linux/arm64", "several platforms in one build"),
        ("--memory 1m", "Minimum memory limit allowed is 6MB"),
        ("--memory-swap 10m", "set the Memory limit when using Memoryswap"),
        ("--cpuset-cpus 999", "Requested CPUs are not available"),
        ("--cpu-period 5", "CPU cfs period can not be less than 1ms"),
        ("--cgroup-parent ../x", "invalid cgroup parent"),
        ("--network container:x", "No such container: x"),
        ("--attest type=sbom", "attestations are not supported"),
        ("--provenance mode=max", "attestations are not supported"),
        ("--cache-from type=gha", "not supported: name an image"),
        ("--call targets", "--call=targets is not supported"),
    ],
)
def test_what_is_not_supported_is_refused(
    daemon: Daemon, context: Directory, words: str, complaint: str
) -> None:
    context.dockerfile("FROM busybox\nRUN true\n")
    refused = daemon.pier("build", "--no-cache", *words.split(), str(context), status=1)
    assert complaint in refused
    assert "parse error" not in refused


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
