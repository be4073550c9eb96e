"""os/architecture[/variant]: parsing, normal forms, and which of several to choose.

The names are Go's (GOOS, GOARCH); the rules are containerd's: a 64-bit ARM also runs v7 and v6
images, an x86-64 also i386's, and nearer is better.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pier.errors import InvalidArgument, NotFound

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
"""With a version, and features, in parentheses."""
_SYSTEMS = frozenset((
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux",
    "macos", "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
))  # fmt: skip
_GO_ARCHITECTURES = frozenset((
    "386", "amd64", "amd64p32", "arm", "arm64", "arm64be", "armbe", "loong64", "mips", "mips64",
    "mips64le", "mips64p32", "mips64p32le", "mipsle", "ppc", "ppc64", "ppc64le", "riscv", "riscv64",
    "s390", "s390x", "sparc", "sparc64", "wasm",
))  # fmt: skip

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
    """`os[/architecture[/variant]]`: the sentences are containerd's."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: invalid argument")


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
            f"image with reference {reference} was found but its platform ({actual}) does not "
            f"match the specified platform ({wanted})"
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
    """Read `os[/architecture[/variant]]`; what is left out is the host's.

    One word alone must be an operating system or an architecture that Go knows. Raises
    InvalidPlatform.
    """
    parts = text.split("/")
    _check_form(text, parts)
    system = _OS.fullmatch(parts[0])
    name, version = (system[1], system[2] or "") if system else (parts[0], "")
    if len(parts) > 1:
        return to_platform(name, parts[1], "".join(parts[2:]), version)
    if parts[0].lower() in _GO_ARCHITECTURES | _ARCHITECTURES.keys():
        return to_platform(host.os, parts[0])
    if name.lower() not in _SYSTEMS:
        raise InvalidPlatform(f"{_quoted(text)}: unknown operating system or architecture")
    return to_platform(name, host.architecture, host.variant, version)


def _check_form(text: str, parts: Sequence[str]) -> None:
    if len(parts) > 3:
        raise InvalidPlatform(f"{_quoted(text)}: cannot parse platform specifier")
    if not _OS.fullmatch(parts[0]):
        raise InvalidPlatform(
            f"{_quoted(parts[0])} is an invalid OS component of {_quoted(text)}: OSAndVersion "
            f"specifier component must match {_quoted(f'^{_OS.pattern}$')}"
        )
    for part in parts[1:]:
        if not _PART.fullmatch(part):
            raise InvalidPlatform(
                f"{_quoted(part)} is an invalid component of {_quoted(text)}: platform specifier "
                f"component must match {_quoted(f'^{_PART.pattern}$')}"
            )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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


_LEVELS = (
    ("v2", "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"),
    ("v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("v4", "avx512bw avx512cd avx512dq avx512f avx512vl"),
)


def amd64_level(flags: Collection[str]) -> str:
    """The variant of an x86-64 processor with these `flags` of /proc/cpuinfo; "" is the first."""
    reached = ""
    for level, needed in _LEVELS:
        if not set(needed.split()) <= set(flags):
            break
        reached = level
    return reached


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
