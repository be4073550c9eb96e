"""`--log-driver` and `--log-opt` as an order for the monitor. Pure. surface.md k.1.

The drivers are json-file, local and none; every other is refused by name.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pier.containers.model import Container
from pier.containers.spec import LogSpec
from pier.errors import InvalidArgument
from pier.runtime.orders import LogOrder

_SIZE = re.compile(r"(\d+)([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_OPTIONS = {
    "json-file": {
        "max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag",
        "mode", "max-buffer-size",
    },
    "local": {"max-size", "max-file", "compress", "mode", "max-buffer-size"},
    "none": set(),
}  # fmt: skip
_DOCKERS = ("awslogs", "fluentd", "gcplogs", "gelf", "journald", "splunk", "syslog")
_LOCAL_SIZE = 20 * (1 << 20)
_LOCAL_FILES = 5
_AT_START = "failed to create task for container: failed to initialize logging driver"


class InvalidLogOption(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class NoLogDriver(InvalidLogOption):
    def __init__(self, driver: str) -> None:
        ours = " (Pier has json-file, local and none)" * (driver in _DOCKERS)
        super().__init__(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found{ours}'
        )


def check_log(log: LogSpec) -> None:
    """Raise NoLogDriver or InvalidLogOption for what is not known."""
    if log.driver not in _OPTIONS:
        raise NoLogDriver(log.driver)
    for name in log.options:
        if name not in _OPTIONS[log.driver]:
            raise InvalidLogOption(f"unknown log opt '{name}' for {log.driver} log driver")
    if log.options.get("mode", "blocking") not in ("blocking",):
        mode = log.options["mode"]
        if mode == "non-blocking":
            raise InvalidLogOption(f"not supported by Pier: log mode {mode}")
        raise InvalidLogOption(f"logger: logging mode not supported: {mode}")
    if "tag" in log.options and "{{" in log.options["tag"]:
        raise InvalidLogOption("not supported by Pier: a template as log tag")
    _size(log.options.get("max-size", "-1"))
    _count(log.options.get("max-file", "1"))
    for name in ("labels-regex", "env-regex"):
        _pattern(log.options.get(name, ""))


def log_order(container: Container, directory: Path) -> LogOrder | None:
    """None: output is not kept. Raises InvalidLogOption."""
    log = container.spec.host.log
    check_log(log)
    if log.driver == "none":
        return None
    local = log.driver == "local"
    return LogOrder(
        driver=log.driver,
        path=str(log_path(container, directory)),
        attributes=log_attributes(container),
        max_size_bytes=_size(log.options.get("max-size", str(_LOCAL_SIZE) if local else "-1")),
        max_files=_count(log.options.get("max-file", str(_LOCAL_FILES) if local else "1")),
        compress=_flag(log.options.get("compress", "true" if local else "false")),
    )


def log_path(container: Container, directory: Path) -> Path:
    suffix = "json" if container.spec.host.log.driver == "json-file" else "local"
    return directory / f"{container.id}-{suffix}.log"


def log_attributes(container: Container) -> dict[str, str]:
    """What `docker logs --details` shows: the labels and variables the options name."""
    options = container.spec.host.log.options
    env = dict(entry.split("=", 1) for entry in container.spec.env if "=" in entry)
    found = _chosen(container.spec.labels, options.get("labels", ""), options.get("labels-regex"))
    found |= _chosen(env, options.get("env", ""), options.get("env-regex"))
    if tag := options.get("tag"):
        found["tag"] = tag
    return found


def _chosen(values: Mapping[str, str], names: str, pattern: str | None) -> dict[str, str]:
    wanted = set(filter(None, names.split(",")))
    matches = _pattern(pattern or "")
    return {
        key: value
        for key, value in values.items()
        if key in wanted or (pattern and matches.search(key))
    }


def _size(text: str) -> int:
    if text == "-1":
        return -1
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidLogOption(f"{_AT_START}: invalid size: '{text}'")
    return int(found[1]) * _UNITS[found[2].lower()]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InvalidLogOption(f"{_AT_START}: max-file cannot be less than 1")
    return int(text)


def _flag(text: str) -> bool:
    return text.lower() in ("true", "1", "t")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidLogOption(f"invalid regular expression '{text}': {error}") from error
