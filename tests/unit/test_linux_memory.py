"""pier.linux.memory: one heap for all threads, and back to the kernel what is free."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heap")

PROGRAM = """
import sys, threading
from pier.linux import memory
if sys.argv[1] == "one":
    memory.use_one_arena()
barrier = threading.Barrier(4)
def work():
    kept = [bytes(2000) for _ in range(500)]
    barrier.wait()
    del kept
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
memory.trim()
spans = [line.split()[0].split("-") for line in open("/proc/self/maps") if " ---p " in line]
print(sum(int(end, 16) - int(begin, 16) > 32 << 20 for begin, end in spans))
"""


def reserved_heaps(arenas: str) -> int:
    """glibc reserves 64 MB of addresses for each further heap."""
    argv = [sys.executable, "-c", PROGRAM, arenas]
    return int(subprocess.run(argv, capture_output=True, check=True).stdout)


def test_threads_share_the_heap() -> None:
    assert reserved_heaps("many") > 0
    assert reserved_heaps("one") == 0
