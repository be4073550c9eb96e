"""An idle daemon does not load what only some requests need: each costs it megabytes."""

import subprocess
import sys

from pier.build.layers import KEY_PREFIX
from pier.engine.builder import SNAPSHOTS

NOT_LOADED = (
    "pier.build", "pier.cli", "dns", "rich", "pyroute2", "obstore", "botocore", "prometheus_client",
    "gotpl", "multiprocessing",
)  # fmt: skip


def test_what_is_loaded_at_start() -> None:
    program = "import sys, pier.daemon.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = done.stdout.decode().split()
    unwanted = {f"{name}." for name in NOT_LOADED}
    assert [n for n in loaded if any(f"{n}.".startswith(other) for other in unwanted)] == []


def test_what_an_interrupted_build_leaves_is_found_without_the_builder() -> None:
    assert SNAPSHOTS == KEY_PREFIX


def test_aiohttp_is_loaded_without_certificates_and_the_environment_is_as_before() -> None:
    program = """
import os
os.environ["SSL_CERT_FILE"] = "/mine"
os.environ.pop("SSL_CERT_DIR", None)
from pier.daemon.lean import import_aiohttp
import_aiohttp()
from aiohttp import connector
print(connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"])
print(os.environ["SSL_CERT_FILE"], "SSL_CERT_DIR" in os.environ)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["0", "/mine", "False"]
