"""Whether an image has programs for the processor's 32-bit ABI; docs/adr/0742.

Those call socketcall(2), which a seccomp filter cannot look into. What a container puts into its
own root does not count: it is the container that is kept from something.
"""

import os
from collections.abc import Iterable

from pier.linux.paths import exists_in_root

_ARCHITECTURES = ("386",)
_LOADERS = ("lib/ld-linux.so.2", "usr/lib/ld-linux.so.2", "lib/ld-musl-i386.so.1")
"""Where dynamic 32-bit x86 programs look for their loader; System V ABI, i386 supplement."""


def has_old_programs(architecture: str, layers: Iterable[str]) -> bool:
    """By what the image is for, or by a loader in one of its layers, directories of the host."""
    return architecture in _ARCHITECTURES or any(_has_loader(layer) for layer in layers)


def _has_loader(layer: str) -> bool:
    fd = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return any(exists_in_root(fd, name) for name in _LOADERS)
    finally:
        os.close(fd)
