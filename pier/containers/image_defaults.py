"""An image's config as the defaults of a container: what of it can be used at all. Pure.

An image is foreign bytes. Docker checks what a user asks for and believes what an image says, so
an image may hold ports, signals and times that no request could. What cannot be used is left out,
with a warning, and never reaches a record: whatever is remembered of a container can be listed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pier.containers.exposed import is_exposed_port, parse_exposed
from pier.containers.signals import InvalidSignal, parse_signal
from pier.oci.image import Healthcheck, RunConfig

_SHORTEST_NS = 1_000_000
"""Docker lets nobody ask for a shorter time of a health check; a prober would only spin."""


@dataclass(frozen=True, slots=True)
class Usable:
    run: RunConfig
    warnings: tuple[str, ...]


def usable(image: RunConfig) -> Usable:
    """`image` without what cannot be used, and what that was."""
    ports = [text for text in image.exposed_ports if not is_exposed_port(text)]
    variables = [entry for entry in image.env if not entry.partition("=")[0]]
    signals = [image.stop_signal] if image.stop_signal and not _is_signal(image) else []
    run = replace(
        image,
        exposed_ports=tuple(str(port) for port in parse_exposed(image.exposed_ports)),
        env=tuple(entry for entry in image.env if entry.partition("=")[0]),
        stop_signal="" if signals else image.stop_signal,
        volumes=tuple(sorted({_absolute(path) for path in image.volumes})),
        healthcheck=image.healthcheck and _within_bounds(image.healthcheck),
    )
    ignored = (
        *_ignored("exposed port", ports),
        *_ignored("environment variable", variables),
        *_ignored("stop signal", signals),
    )
    return Usable(run, ignored)


def _ignored(what: str, texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"The image's {what} {text[:100]!r} is not valid: ignored." for text in texts)


def _is_signal(image: RunConfig) -> bool:
    try:
        parse_signal(image.stop_signal)
    except InvalidSignal:
        return False
    return True


def _absolute(path: str) -> str:
    """A relative path is below the root, as runtimes take it; "" stays, and is refused later."""
    return f"/{path}" if path and not path.startswith("/") else path


def _within_bounds(check: Healthcheck) -> Healthcheck:
    """Times below a millisecond and negative numbers become 0: the default."""

    def duration(value_ns: int) -> int:
        return value_ns if value_ns >= _SHORTEST_NS else 0

    return replace(
        check,
        interval_ns=duration(check.interval_ns),
        timeout_ns=duration(check.timeout_ns),
        start_period_ns=duration(check.start_period_ns),
        start_interval_ns=duration(check.start_interval_ns),
        retries=max(check.retries, 0),
    )
