"""The program that is process 1 with `--init`: reaps children, passes signals on.

Docker ships tini as docker-init; here it is what the machine has. It must be linked statically,
as it runs among the image's libraries, and understand `program -- command`.
"""

import os
import shutil
from pathlib import Path

from pier.errors import Failed

_NAMES = ("docker-init", "tini-static", "catatonit")
_PLACES = (
    "/usr/libexec/docker:/usr/libexec/podman:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
)


class NoInit(Failed):
    def __init__(self) -> None:
        super().__init__(
            "--init needs an init program and none was found: install the package tini or "
            "catatonit, or name one with init-path"
        )


def find_init(configured: str = "", places: str = _PLACES) -> str:
    """The absolute path of the init: `configured` (a path or a name), or what there is.

    Raises NoInit.
    """
    for name in (configured,) if configured else _NAMES:
        path = Path(name)
        if path.is_absolute():
            if os.access(path, os.X_OK):
                return name
        elif found := shutil.which(name, path=places):
            return found
    raise NoInit
