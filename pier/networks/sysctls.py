"""`--sysctl net.…`, and those of an endpoint's options, set in a container's namespace."""

import errno
from collections.abc import Mapping

from pier.errors import Failed
from pier.networks import sandbox
from pier.networks.sandbox import Namespace


class SysctlRefused(Failed):
    def __init__(self, name: str, value: str, error: OSError) -> None:
        path = f"/proc/sys/{name.replace('.', '/')}"
        why = (error.strerror or str(error)).lower()
        verb = "open" if error.errno == errno.ENOENT else f"write {value!r} to"
        super().__init__(
            f"failed to set up container networking: sysctl {name}: {verb} {path}: {why}"
        )


def of_networks(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Those that belong to the network namespace; the runtime sets the others."""
    return {name: value for name, value in sysctls.items() if name.startswith("net.")}


def apply(namespace: Namespace, sysctls: Mapping[str, str]) -> None:
    """One by one. Raises SysctlRefused. Blocks."""
    for name, value in sysctls.items():
        try:
            sandbox.set_sysctls(namespace, {name: value})
        except OSError as error:
            raise SysctlRefused(name, value, error) from error
