"""Limits, policies and checks of single values: `--ulimit`, `--restart`, `--dns`, ..."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Json = dict[str, Any]  # objects of the API

ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack".split()
)
_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax"
    " kernel.shmmni kernel.shm_rmid_forced".split()
)


def check_ulimit(text: str) -> str:
    parse_ulimit(text)
    return text


def parse_ulimit(text: str) -> Json:
    """Return the Ulimit of `name=soft[:hard]`."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft, colon, hard = limits.partition(":")
    numbers = [_limit(part, limits) for part in ((soft, hard) if colon else (soft, soft))]
    low, high = numbers
    if high != -1 and (low == -1 or low > high):
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}"
        )
    return {"Name": name, "Soft": low, "Hard": high}


def _limit(text: str, whole: str) -> int:
    try:
        return int(text)
    except ValueError:
        if whole.count(":") > 1:
            raise ValueError(
                f"too many limit value arguments - {whole}, can only have up to two, `soft[:hard]`"
            ) from None
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def parse_restart(text: str) -> Json:
    """Return the RestartPolicy of `name[:count]`."""
    name, colon, count = text.partition(":")
    if colon and ":" in count:
        raise ValueError("invalid restart policy format: too many colons")
    if not name and colon:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    policy: Json = {"Name": name}
    if count:
        try:
            policy["MaximumRetryCount"] = int(count)
        except ValueError:
            raise ValueError(
                "invalid restart policy format: maximum retry count must be an integer"
            ) from None
    return policy


def check_stream(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def check_sysctl(text: str) -> str:
    name = text.partition("=")[0]
    if "=" in text and (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        return text
    raise ValueError(f"sysctl '{text}' is not allowed")


def check_add_host(text: str) -> str:
    """Return `host:address` for `host:address` and `host=address`."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address == "host-gateway":
        return f"{name}:{address}"
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    if not _is_address(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def check_dns(text: str) -> str:
    if not _is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def check_dns_search(text: str) -> str:
    """Return a search domain; `.` alone means none."""
    import re

    domain = text.strip()
    if domain == ".":
        return domain
    label = r"[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?"
    if len(domain) >= 255 or not re.fullmatch(rf"{label}(\.{label})*\.?", domain):
        raise ValueError(f"{text} is not a valid domain")
    return domain


def check_link(text: str) -> str:
    """Return a link as given; `a:` and `:b` are wrong."""
    if not text:
        raise ValueError("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2:
        raise ValueError(f"bad format for links: {text}")
    return text


class Capabilities:
    """`--cap-add` and `--cap-drop` in the API's spelling; what is added wins over dropping it."""

    __slots__ = ("add", "drop")

    def __init__(self, add: Iterable[str], drop: Iterable[str]) -> None:
        self.add = _capabilities(add)
        self.drop = [name for name in _capabilities(drop) if name not in self.add]


def _capabilities(names: Iterable[str]) -> list[str]:
    found = set()
    for name in names:
        name = name.strip().upper()  # noqa: PLW2901 - the same name, as it is spelt
        found.add(name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}")
    return ["ALL"] if "ALL" in found else sorted(found)


class Security:
    """`--security-opt`: what goes to the daemon, and whether /proc is laid bare."""

    __slots__ = ("options", "unmasked")

    def __init__(self, options: list[str], *, unmasked: bool) -> None:
        self.options = options
        self.unmasked = unmasked


def read_security(values: Iterable[str]) -> Security:
    """Read seccomp profiles into their options, and take `systempaths` out."""
    options: list[str] = []
    unmasked = False
    for value in values:
        if value == "systempaths=unconfined":
            unmasked = True
            continue
        options.append(_security_option(value))
    return Security(options, unmasked=unmasked)


def _security_option(value: str) -> str:
    if value == "no-new-privileges":
        return value
    name, equals, text = value.partition("=")
    if not equals:
        name, equals, text = value.partition(":")
        if not equals:
            raise ValueError(f'Invalid --security-opt: "{value}"')
    if name != "seccomp" or text in ("unconfined", "builtin"):
        return value
    from pier.cli.jsonlite import format_json, parse_json

    try:
        with open(text, encoding="utf-8") as file:
            profile = parse_json(file.read())
    except FileNotFoundError:
        raise ValueError(
            f"opening seccomp profile ({text}) failed: open {text}: no such file or directory"
        ) from None
    except ValueError as error:
        message = f"compacting json for seccomp profile ({text}) failed: {error}"
        raise ValueError(message) from error
    return f"seccomp={format_json(profile)}"


def health_check(
    command: str, durations: Mapping[str, int], retries: int, *, disabled: bool
) -> Json | None:
    """Return the Healthcheck that the `--health-*` flags describe, None if they say nothing.

    `durations` has the API's names and nanoseconds.
    """
    given = {name: value for name, value in durations.items() if value}
    if disabled:
        if command or retries or given:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    flags = {
        "Interval": "interval",
        "Timeout": "timeout",
        "StartPeriod": "start-period",
        "StartInterval": "start-interval",
    }
    for name, flag in flags.items():
        if durations.get(name, 0) < 0:
            raise ValueError(f"--health-{flag} cannot be negative")
    if retries < 0:
        raise ValueError("--health-retries cannot be negative")
    check: Json = {"Test": ["CMD-SHELL", command]} if command else {}
    check |= given
    if retries:
        check["Retries"] = retries
    return check or None


def parse_storage_opts(values: Iterable[str]) -> dict[str, str]:
    options = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise ValueError("invalid storage option")
        options[name] = text
    return options
