"""Each instruction's own rules, and the words in which a mistake is reported."""

import pytest

from pier.build.instructions import Add, Copy, Healthcheck, Instruction, Onbuild, Run
from pier.build.parser import DockerfileError, parse_dockerfile
from pier.build.run_mounts import BadMount, RunMount, parse_mount
from pier.build.syntax import parse_instruction


def read(text: str) -> Instruction:
    parsed = parse_dockerfile(f"FROM a\n{text}".encode())
    return parse_instruction(parsed.nodes[1], parsed.escape)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROO x", "unknown instruction: FROO (did you mean FROM?)"),
        ("XYZZY x", "unknown instruction: XYZZY"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1b", 'invalid name for build stage: "1b", name can\'t start with a number or '
         "contain symbols"),
        ("FROM --plat=x a", "unknown flag: --plat (did you mean platform?)"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=b C", "Syntax error - can't find = in \"C\". Must be of the form: name=value"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV =b", "ENV names can not be blank"),
        ("LABEL", "LABEL requires at least one argument"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination "
         "could not be determined"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("COPY --chown a b c", "missing a value on flag: --chown"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
        ("COPY --chown=a --chown=b a b", "duplicate flag specified: --chown"),
        ("RUN --mont=type=bind x", "unknown flag: --mont (did you mean mount?)"),
        ("RUN --network=bridge x", 'invalid network mode "bridge"'),
        ("RUN --security=x y", 'security "x" is not valid'),
        ("RUN --mount=type=cash,target=/x y",
         'unsupported mount type "cash" (did you mean cache?)'),
        ("RUN --mount=type=bind,tarjet=/x y",
         "unexpected key 'tarjet' in 'tarjet=/x' (did you mean target?)"),
        ("RUN --mount=from=$x,target=/y z",
         "'from' doesn't support variable expansion, define alias stage instead"),
        ("RUN [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("SHELL /bin/bash", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK RUN x", 'Unknown type "RUN" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=5 CMD x", 'time: missing unit in duration "5"'),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        read(text)
    assert caught.value.line == 2
    assert str(caught.value) in (
        f"dockerfile parse error on line 2: {message}",
        f"failed to parse Dockerfile: {message}",
    )


def test_health_checks_carry_their_times() -> None:
    check = read(
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0s --retries=3 CMD a b"
    )
    assert isinstance(check, Healthcheck)
    assert check.test == ("CMD-SHELL", "a b")
    assert (check.interval_ns, check.timeout_ns, check.retries) == (90 * 10**9, 1_500_000_000, 3)
    exec_form = read('HEALTHCHECK CMD ["a", "b"]')
    assert isinstance(exec_form, Healthcheck)
    assert exec_form.test == ("CMD", "a", "b")


def test_copy_keeps_heredocs_apart_from_paths() -> None:
    copy = read("COPY --from=x --parents --exclude=*.o --exclude=t a <<-'E' /d/\n\thi\nE")
    assert isinstance(copy, Copy)
    assert (copy.sources, copy.destination, copy.origin) == (("a",), "/d/", "x")
    assert (copy.parents, copy.excludes) == (True, ("*.o", "t"))
    assert [(h.name, h.text, h.expand) for h in copy.heredocs] == [("E", "hi\n", False)]


def test_add_knows_whether_unpacking_was_asked_for() -> None:
    plain, yes, no = (read(f"ADD {flag} a /b") for flag in ("", "--unpack", "--unpack=false"))
    assert [add.unpack for add in (plain, yes, no) if isinstance(add, Add)] == [None, True, False]


def test_an_onbuild_trigger_keeps_its_heredoc() -> None:
    onbuild = read("ONBUILD RUN cat <<E\nhello\nE")
    assert isinstance(onbuild, Onbuild)
    assert onbuild.trigger == "RUN cat <<E\nhello\nE"


def test_run_in_both_forms() -> None:
    shell, exec_form = read("RUN a  b"), read('RUN ["a", "b"]')
    assert isinstance(shell, Run)
    assert isinstance(exec_form, Run)
    assert (shell.command.words, shell.command.in_shell) == (("a  b",), True)
    assert (exec_form.command.words, exec_form.command.in_shell) == (("a", "b"), False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", RunMount(target="/x", readonly=True)),
        ("type=bind,rw,from=s,src=a,dst=/x",
         RunMount(origin="s", source="a", target="/x", readonly=False)),
        ("type=cache,target=/c,sharing=locked,id=z,mode=0700,uid=1,gid=2",
         RunMount(type="cache", target="/c", sharing="locked", id="z", mode=0o700, uid=1, gid=2,
                  readonly=False)),
        ("type=tmpfs,target=/t,size=64m",
         RunMount(type="tmpfs", target="/t", size_bytes=64 << 20, readonly=False)),
        ("type=secret,id=tok", RunMount(type="secret", id="tok", target="/run/secrets/tok",
                                        readonly=True)),
        ("type=secret,id=tok,env=TOKEN", RunMount(type="secret", id="tok", env="TOKEN",
                                                  readonly=True)),
        ("type=secret,target=/a/b,required", RunMount(type="secret", id="b", target="/a/b",
                                                      required=True, readonly=True)),
        ("type=ssh", RunMount(type="ssh", readonly=True)),
        ('"target=/a,b"', RunMount(target="/a,b", readonly=True)),
    ],
)  # fmt: skip
def test_mounts_of_a_run(text: str, expected: RunMount) -> None:
    assert parse_mount(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=tmpfs,target=/x,mode=0700", 'mode not allowed for "tmpfs" type mounts'),
        ("type=bind,target=/x,sharing=private", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=bind,target=/x,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,target=/x,mode=999", "invalid value 999 for mode"),
        ("type=cache", "target is required for cache mounts"),
        ("target", "invalid field 'target' must be a key=value pair"),
    ],
)
def test_mounts_that_cannot_be_meant(text: str, message: str) -> None:
    with pytest.raises(BadMount) as caught:
        parse_mount(text)
    assert str(caught.value) == message
