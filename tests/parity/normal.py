"""Takes out of an output what differs between two runs of one engine, and no more.

What the command line itself names is never taken out: an address, a port or a time that was asked
for is compared to the letter.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# what the client writes above every build without BuildKit
_BANNER = (
    "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n"
    "            BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0\n"
    "            environment-variable.\n\n"
)
_UNIT = r"(?:second|minute|hour|day|week|month|year)s?"
_DURATION = rf"(?:\d+ {_UNIT}|Less than a second|About a minute|About an hour)"
# what runs the container is the machine's choice, and its newer versions say more
_RUNTIME = (
    r"\b(?:runc|crun)( create failed: unable to start container process: )"
    r"(?:error during container init: )?"
)
_SIMPLE = (
    (r"\b(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\b(?!0001)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \+0000 UTC", "<time>"),
    (_DURATION, "<duration>"),
    (r"\b1[6-9]\d{8}\b", "<seconds>"),
    (r"\b1[6-9]\d{17}\b", "<nanoseconds>"),
    (r'(?<="Pid":)( ?)[1-9]\d*', r"\1<pid>"),
    (r"/proc/\d+/ns/net", "/proc/<pid>/ns/net"),
    (r'(?<="Runtime":)"(?:runc|crun)"', '"<runtime>"'),
    (r"(?<=\S) {3,}(?=\S)", "   "),
    (r" +(?=\n|$)", ""),
)
_MAC = r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
_IP = r"\b(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?\b"
_PORT = r"(?<=[:\"])\d{5}\b"
# what dockerd and tests/daemon.py assign from; scenarios ask for subnets elsewhere
_ASSIGNED = [
    ipaddress.ip_network(pool) for pool in ("172.16.0.0/12", "192.168.0.0/16", "10.214.0.0/16")
]
_EPHEMERAL = range(32768, 61000)


@dataclass(frozen=True, slots=True)
class Normaliser:
    """`places`: what stands for a text of this run, such as the path of a root."""

    places: Mapping[str, str]

    def normal(self, text: str, line: str) -> str:
        """`text` as `line` wrote it, without what differs from run to run."""
        for value, placeholder in self.places.items():
            text = text.replace(value, placeholder)
        text = text.replace(_BANNER, "").replace("\r", "\\r").replace("\x1b", "\\e")
        text = _numbered(text, _MAC, "mac", line, lambda _: True)
        text = _numbered(text, _IP, "ip", line, _is_assigned)
        text = _numbered(text, _PORT, "port", line, lambda port: int(port) in _EPHEMERAL)
        text = re.sub(_RUNTIME, r"<runtime>\1", text)
        for pattern, placeholder in _SIMPLE:
            text = _replaced(text, pattern, placeholder, line)
        return text


def _replaced(text: str, pattern: str, placeholder: str, line: str) -> str:
    def put(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.strip() and found in line else match.expand(placeholder)

    return re.sub(pattern, put, text)


def _numbered(text: str, pattern: str, kind: str, line: str, differs: Callable[[str], bool]) -> str:
    """Number what matches by first appearance, so that equal ones are seen to be equal."""
    seen: dict[str, str] = {}

    def put(match: re.Match[str]) -> str:
        found = match.group()
        if found in line or not differs(found):
            return found
        return seen.setdefault(found, f"<{kind}-{len(seen) + 1}>")

    return re.sub(pattern, put, text)


def _is_assigned(text: str) -> bool:
    try:
        address = ipaddress.ip_interface(text).ip
    except ValueError:
        return False
    return any(address in pool for pool in _ASSIGNED)


def format_size(size_bytes: int) -> str:
    """As Docker's client shows a size: four digits of a decimal unit."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.4g}"[:5] + units[0]
