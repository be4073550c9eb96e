"""Runtimes that are older than the fixes of flaws a container's image can use. Pure.

By what they say of themselves: a distribution may have mended an older one. Crun had none of these;
what it had later (CVE-2026-88264, -88265) needs a /dev that is not the runtime's own.
"""

import re

_RUNC = ((1, 2, 8), (1, 3, 3), (1, 4, 0))
"""The first of each line with the fixes, oldest first; lines after the last have them."""
_NUMBERS = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", re.ASCII)


def warning(name: str, program: str, version: str) -> str:
    """What an operator should know of the runtime `name`, the file `program`; "" for nothing."""
    found = _NUMBERS.match(version)
    if program != "runc" or found is None:
        return ""
    own = tuple(int(number or 0) for number in found.groups())
    fixed = next((first for first in _RUNC if first[:2] >= own[:2]), None)
    if fixed is None or own >= fixed:
        return ""
    return (
        f"WARNING: runtime {name} is runc {version}, older than the fixes of CVE-2025-31133, "
        "CVE-2025-52565 and CVE-2025-52881 (1.2.8, 1.3.3); install a newer one, unless yours has "
        "been mended by its distribution"
    )
