"""What tests against the kernel are given: containers that leave nothing behind, an image store."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.events import Events
from pier.images.store import Images
from pier.linux import cgroup
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter
from tests.root.image_support import NOW
from tests.root.runtime_support import PARENT, Bench, forget_groups, monitors_of


@pytest.fixture(params=["crun", "runc"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, request.param)
    deadline = time.monotonic() + 2
    while (left := monitors_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)  # a monitor that hung up is still on its way out
    parents = map(Path, cgroup.layout().directories(PARENT))
    groups = [path for parent in parents for path in parent.iterdir() if path.is_dir()]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    forget_groups()
    assert left == []
    assert groups == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    database = Database(tmp_path / "pier.db")
    snapshotter = Snapshotter(tmp_path / "snapshots", database)
    content = ContentStore(tmp_path / "content", database)
    yield Images(database, content, snapshotter, Leases(database), Events(), lambda: NOW)
    snapshotter.close()
    database.close()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "world" / "layer"
    path.mkdir(parents=True)
    (tmp_path / "world" / "outside").mkdir()
    (tmp_path / "world" / "outside" / "precious").write_text("precious")
    return path
