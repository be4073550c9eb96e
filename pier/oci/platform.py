"""os/architecture[/variant]: parsing, normal forms, and which of several to choose.

The names are Go's (GOOS, GOARCH); the rules are containerd's: a 64-bit ARM also runs v7 and v6
images, an x86-64 also i386's, and nearer is better.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pier.errors import InvalidArgument, NotFound

_PART = re.compile(r"[A-Za-z0-9_.-]+")

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
}
_DEFAULT_VARIANTS = {
    ("arm64", "v8"): "",
    ("arm64", "8"): "",
    ("amd64", "v1"): "",
    ("arm", ""): "v7",
}
_FALLBACKS = {"arm": ("v8", "v7", "v6", "v5"), "amd64": ("v4", "v3", "v2", "")}


class InvalidPlatform(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f'"{text}": unknown operating system or architecture: invalid platform; '
            "write os[/arch[/variant]]"
        )


class NoMatchingPlatform(NotFound):
    """An image has no variant that was asked for; clients know the sentence."""

    def __init__(self, reference: str, wanted: "Platform") -> None:
        super().__init__(
            f"image with reference {reference} was found but does not provide the specified "
            f"platform ({wanted})"
        )


class WrongPlatform(NotFound):
    def __init__(self, reference: str, wanted: "Platform", actual: "Platform") -> None:
        super().__init__(
            f"image with reference {reference} was found but does not match the specified "
            f"platform: wanted {wanted}, actual: {actual}"
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """In normal form; variant is "" where it is the architecture's only or first one."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing.override: 3.12
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def to_platform(os: str, architecture: str, variant: str = "", os_version: str = "") -> Platform:
    """The normal form of what a config, an index or a person says."""
    architecture = architecture.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant.lower() or implied
    variant = _DEFAULT_VARIANTS.get((architecture, variant), variant)
    if architecture == "arm" and variant.isdigit():
        variant = "v" + variant
    return Platform("darwin" if os == "macos" else os.lower(), architecture, variant, os_version)


def parse_platform(text: str, host: Platform) -> Platform:
    """Read `os[/architecture[/variant]]`; what is left out is the host's."""
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidPlatform(text)
    if len(parts) == 1 and _known_architecture(parts[0]):
        return to_platform(host.os, parts[0])
    if len(parts) == 1:
        return to_platform(parts[0], host.architecture, host.variant)
    return to_platform(*parts)


def _known_architecture(text: str) -> bool:
    known = {"amd64", "386", "arm", "arm64", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"}
    return text.lower() in known | _ARCHITECTURES.keys()


def runnable(host: Platform) -> list[Platform]:
    """What `host` can run, best first."""
    variants: Sequence[str] = _FALLBACKS.get(host.architecture, ())
    if host.variant in variants:
        variants = variants[variants.index(host.variant) :]
    else:
        variants = (host.variant,)
    found = [Platform(host.os, host.architecture, variant) for variant in variants]
    if host.architecture == "arm64":
        found += [Platform(host.os, "arm", variant) for variant in _FALLBACKS["arm"]]
    if host.architecture == "amd64":
        found.append(Platform(host.os, "386"))
    return found


def choose(
    candidates: Iterable[Platform | None], host: Platform, wanted: Platform | None = None
) -> int | None:
    """Index of the best candidate for `wanted` (by default what the host runs best), or None.

    A candidate without a platform is taken only if nothing else can be.
    """
    offered = [candidate and _without_version(candidate) for candidate in candidates]
    for platform in runnable(wanted or host):
        if platform in offered:
            return offered.index(platform)
    if wanted is None and None in offered:
        return offered.index(None)
    return None


def matches(actual: Platform, wanted: Platform) -> bool:
    """Whether an image of `actual` will do where `wanted` was asked for."""
    return _without_version(actual) in runnable(wanted)


def _without_version(platform: Platform) -> Platform:
    return Platform(platform.os, platform.architecture, platform.variant)
