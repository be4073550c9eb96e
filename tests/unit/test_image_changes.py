import pytest

from pier.images.changes import InvalidChange, apply_changes
from pier.oci.image import Healthcheck, RunConfig

BASE = RunConfig(env=("A=1", "P=/bin"), working_dir="/srv", labels={"old": "1"})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b"]', {"cmd": ("a", "b")}),
        ("cmd echo hi", {"cmd": ("/bin/sh", "-c", "echo hi")}),
        ("ENTRYPOINT []", {"entrypoint": ()}),
        ('ENV A=2 B="x y"', {"env": ("A=2", "P=/bin", "B=x y")}),
        ("ENV B the rest $A", {"env": ("A=1", "P=/bin", "B=the rest 1")}),
        ("ENV C=${X:-d}${A:+e}", {"env": ("A=1", "P=/bin", "C=de")}),
        ("LABEL a=b 'c d'=e", {"labels": {"old": "1", "a": "b", "c d": "e"}}),
        ("EXPOSE 80 53/udp 90-91", {"exposed_ports": ("53/udp", "80/tcp", "90/tcp", "91/tcp")}),
        ("USER me", {"user": "me"}),
        ("VOLUME /b /a", {"volumes": ("/a", "/b")}),
        ('VOLUME ["/a b"]', {"volumes": ("/a b",)}),
        ("WORKDIR app/../x", {"working_dir": "/srv/x"}),
        ("WORKDIR /abs", {"working_dir": "/abs"}),
        ("STOPSIGNAL SIGINT", {"stop_signal": "SIGINT"}),
        ("ONBUILD RUN x", {"on_build": ("RUN x",)}),
        ("HEALTHCHECK NONE", {"healthcheck": Healthcheck(test=("NONE",))}),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
            {"healthcheck": Healthcheck(test=("CMD-SHELL", "curl x"), interval_ns=90 * 10**9,
                                        retries=3)},
        ),
        ('HEALTHCHECK CMD ["x"]', {"healthcheck": Healthcheck(test=("CMD", "x"))}),
        ("# nothing\n\nUSER \\\n  me", {"user": "me"}),
    ],
)  # fmt: skip
def test_changes_touch_the_config(change: str, expected: dict[str, object]) -> None:
    changed = apply_changes(BASE, [change])
    assert {name: getattr(changed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("from x", "from is not a valid change command"),
        ("USER", "USER requires at least one argument"),
        ("ENV x", "ENV must have two arguments"),
        ("ENV a=b =c", "can't find ="),
        ("EXPOSE 0x1", "Invalid containerPort: 0x1"),
        ("EXPOSE 70000", "Invalid containerPort"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK x", "Unknown type"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK --interval=1us CMD x", "less than 1ms"),
        ("HEALTHCHECK --interval=x CMD x", "invalid duration"),
        ("STOPSIGNAL ?", "invalid signal"),
        ('LABEL a="b', "No closing quotation"),
    ],
)
def test_other_changes_are_refused(change: str, why: str) -> None:
    with pytest.raises(InvalidChange, match=why):
        apply_changes(BASE, [change])
