"""pier.daemon.flags: dockerd's options as the values daemon.json has."""

import pytest

from pier.daemon.flags import parse
from pier.daemon.listeners import open_listeners
from pier.settings import InvalidSettings, Settings


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["-H", "unix:///a", "--host", "tcp://127.0.0.1:1"], "hosts", ["unix:///a", "tcp://127.0.0.1:1"]),
        (["--data-root", "/d"], "data-root", "/d"),
        (["-D"], "debug", True),
        (["--icc=false"], "icc", False),
        (["--live-restore"], "live-restore", True),
        (["--log-opt", "max-size=1m", "--log-opt", "max-file=3"], "log-opts",
         {"max-size": "1m", "max-file": "3"}),
        (["--add-runtime", "mine=/bin/x"], "runtimes", {"mine": {"path": "/bin/x"}}),
        (["--default-ulimit", "nofile=1:2"], "default-ulimits",
         {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}),
        (["--default-address-pool", "base=10.0.0.0/8,size=24"], "default-address-pools",
         [{"base": "10.0.0.0/8", "size": 24}]),
    ],
)  # fmt: skip
def test_flag(argv: list[str], key: str, value: object) -> None:
    assert parse(argv).settings == {key: value}


def test_what_was_not_said_is_left_to_the_file() -> None:
    arguments = parse(["--config-file", "/c", "--drop-in"])
    assert arguments.settings == {}
    assert str(arguments.config_file) == "/c"
    assert arguments.drop_in


@pytest.mark.parametrize("argv", [["--nosuch"], ["--mtu", "x"], ["--debug=perhaps"]])
def test_nonsense_ends_with_125(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(argv)
    assert end.value.code == 125


@pytest.mark.parametrize("argv", [["--log-opt", "x"], ["--default-ulimit", "nofile=a"]])
def test_bad_values_are_named(argv: list[str]) -> None:
    with pytest.raises(InvalidSettings, match="invalid"):
        parse(argv)


@pytest.mark.parametrize("host", ["tcp://0.0.0.0:0", "tcp://[::]:0", "http://x", "nonsense"])
def test_nobody_beyond_loopback_gets_in_without_a_certificate(host: str) -> None:
    with pytest.raises(InvalidSettings):
        open_listeners(Settings(hosts=[host]))
