"""containerd's hosts.toml: the mirrors of one registry. Reads the file, decides nothing.

containerd docs/hosts.md. Relative certificate paths are relative to the file.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pier.registry.failures import InvalidHosts
from pier.registry.protocol import parse_http_url

_ALL = ("pull", "resolve", "push")


@dataclass(frozen=True, slots=True)
class CertificatePair:
    certificate: Path
    key: Path | None


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One `[host."…"]` table, or the `server` at the top."""

    scheme: str
    host: str
    prefix: str
    capabilities: tuple[str, ...] = _ALL
    authorities: tuple[Path, ...] = ()
    certificates: tuple[CertificatePair, ...] = ()
    skip_verify: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    dial_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class HostsToml:
    server: HostEntry | None
    hosts: tuple[HostEntry, ...]
    """In the order of the file."""


def read(path: Path) -> HostsToml:
    """Read a hosts.toml; raise InvalidHosts with its path."""
    try:
        return parse(path.read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidHosts(str(path), str(error)) from error


def parse(text: str, path: Path) -> HostsToml:
    """Read the text of the hosts.toml at `path`."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidHosts(str(path), str(error)) from error
    server = table.get("server")
    hosts = table.get("host", {})
    if not isinstance(hosts, dict) or not isinstance(server, str | None):
        raise InvalidHosts(str(path), "server must be a string and host a table")
    return HostsToml(
        server=_entry(server, table, path) if server else None,
        hosts=tuple(_entry(url, entry, path) for url, entry in hosts.items()),
    )


# Any below: what tomllib returns is untyped until it has been looked at, here.
def _entry(url: str, table: Mapping[str, Any], path: Path) -> HostEntry:
    parts = parse_http_url(url if "://" in url else f"https://{url}")
    if parts is None:
        raise InvalidHosts(str(path), f"{url!r} is no http(s) address")
    try:
        return HostEntry(
            scheme=parts.scheme,
            host=parts.netloc,
            prefix=_prefix(parts.path, override=bool(table.get("override_path", False))),
            capabilities=tuple(table.get("capabilities", _ALL)),
            authorities=tuple(path.parent / name for name in _strings(table.get("ca", []))),
            certificates=_pairs(table.get("client", []), path),
            skip_verify=bool(table.get("skip_verify", False)),
            headers=_headers(table.get("header", {})),
            dial_timeout_s=_seconds(table.get("dial_timeout", "")),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidHosts(str(path), f"{url}: {error}") from error


def _prefix(path: str, *, override: bool) -> str:
    path = path.rstrip("/")
    return path if override or path.endswith("/v2") else path + "/v2"


def _strings(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(entry, str) for entry in values):
        raise ValueError("a list of strings is expected")
    return values


def _pairs(value: Any, path: Path) -> tuple[CertificatePair, ...]:
    """`"c"`, `["c1", "c2"]` or `[["c1", "k1"], …]`."""
    entries = [value] if isinstance(value, str) else list(value)
    pairs = []
    for entry in entries:
        certificate, *key = _strings(entry)
        pairs.append(
            CertificatePair(
                path.parent / certificate, path.parent / key[0] if key and key[0] else None
            )
        )
    return tuple(pairs)


def _headers(value: Any) -> dict[str, str]:
    return {name: ", ".join(_strings(entry)) for name, entry in value.items()}


_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"([\d.]+)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float | None:
    """Go's way to write a duration: `500ms`, `1m30s`; None for nothing."""
    if not text:
        return None
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
