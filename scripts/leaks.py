"""Lists what container engines leave behind on a machine; compares two such lists.

Run it before and after the tests. Prints one line per mount, network link, network namespace,
cgroup, nftables table, and process of a runtime, monitor or daemon. With `--compare FILE` it
waits a little for the kernel to finish (links of a dead namespace go late), prints what is new
and exits with 1 if anything is.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 10.0
_AUTOMOUNTED = ("tracefs", "binfmt_misc")  # by the kernel, when somebody first looks there
_OURS = re.compile(r"pier|docker|[0-9a-f]{64}")
PROCESSES = ("crun", "runc", "pier", "containerd", "dockerd", "docker-registry", "conmon")


def mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind = fields[fields.index("-") + 1]
        # The first `ip netns add` on a machine makes /run/netns, and none undoes it.
        if fields[4] != "/run/netns" and kind not in _AUTOMOUNTED:
            yield f"mount {fields[4]} {kind}"


def links() -> Iterator[str]:
    for path in Path("/sys/class/net").iterdir():
        yield f"link {path.name}"


def cgroups() -> Iterator[str]:
    root = Path("/sys/fs/cgroup")
    for path in root.glob("**/"):
        if _OURS.search(str(path)):
            yield f"cgroup {path}"


def tables() -> Iterator[str]:
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    yield from (f"nft {line}" for line in listed.stdout.splitlines())


def processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "comm").read_text().strip()
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended
        if "leaks.py" in words or "pytest" in words:
            continue
        if name.startswith(PROCESSES) or "pier daemon" in words or "pier registry" in words:
            yield f"process {path.name} {name} {words[:100]}"


def namespaces() -> Iterator[str]:
    seen: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            seen.setdefault(str(path.readlink()), path.parts[2])
        except OSError:
            continue
    yield from (f"namespace {name}" for name in seen)


def everything() -> set[str]:
    found = set()
    for look in (mounts, links, cgroups, tables, processes, namespaces):
        found |= set(look())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", type=Path, help="a list from before")
    arguments = parser.parse_args()
    if arguments.compare is None:
        sys.stdout.write("\n".join(sorted(everything())) + "\n")
        return 0
    before = set(arguments.compare.read_text().splitlines())
    deadline = time.monotonic() + PATIENCE_S
    while (left := everything() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    for line in sorted(left):
        sys.stdout.write(f"left behind: {line}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
