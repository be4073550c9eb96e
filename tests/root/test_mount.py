"""Overlay mounts, made by the kernel; those of older kernels too."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pier.linux import mount, syscalls
from pier.linux.mount import Overlay
from tests import old_kernel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True, params=["fsconfig", "mount"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything holds for both ways to make an overlay; and none leaves anything mounted.

    A kernel before 6.7 shows that it knows the second alone, once it is asked for layers.
    """
    monkeypatch.setattr(mount._Kernel, "adds_layers", request.param == "fsconfig")
    before = Path("/proc/self/mountinfo").read_text().count("overlay")
    yield request.param
    if mount._Kernel.adds_layers != (request.param == "fsconfig"):
        assert request.param == "fsconfig"
        assert kernel() < (6, 7)
    assert Path("/proc/self/mountinfo").read_text().count("overlay") == before


def kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split(".")[:2])


def in_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def layers(directory: Path, count: int) -> tuple[str, ...]:
    paths = []
    for number in range(count):
        path = directory / f"layer{number}"
        path.mkdir()
        (path / f"file{number}").write_text(str(number))
        (path / "top").write_text(str(number))
        paths.append(str(path))
    return tuple(paths)


def writable(directory: Path, lower: tuple[str, ...], *, volatile: bool = False) -> Overlay:
    for name in ("upper", "work"):
        (directory / name).mkdir(exist_ok=True)
    return Overlay(lower, f"{directory}/upper", f"{directory}/work", volatile)


def read(fd: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY, dir_fd=fd), encoding="utf-8") as file:
        return file.read()


def test_hundreds_of_layers_are_stacked_with_the_first_on_top(tmp_path: Path) -> None:
    fd = mount.open_overlay(writable(tmp_path, layers(tmp_path, 300)))
    try:
        assert read(fd, "top") == "0"
        assert read(fd, "file299") == "299"
        os.mkdir("made", dir_fd=fd)
    finally:
        os.close(fd)
    assert (tmp_path / "upper/made").is_dir()


def test_layers_with_long_paths_are_stacked(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    fd = mount.open_overlay(writable(deep, layers(deep, 3)))
    try:
        assert read(fd, "file2") == "2"
    finally:
        os.close(fd)


def test_colons_and_commas_in_paths_mean_nothing(tmp_path: Path) -> None:
    odd = tmp_path / "a:b,c\\d e=f"
    odd.mkdir()
    fd = mount.open_overlay(writable(odd, layers(odd, 3)))
    try:
        assert read(fd, "file2") == "2"
        os.mkdir("made", dir_fd=fd)
    finally:
        os.close(fd)
    assert (odd / "upper/made").is_dir()


def test_the_kernels_limit_of_layers_is_the_limit(tmp_path: Path) -> None:
    """Paths of the length they have on a host: half a page would hold 20 of them."""
    deep = tmp_path / ("snapshots" * 10)
    deep.mkdir()
    fd = mount.open_overlay(writable(deep, layers(deep, 499)))
    try:
        assert read(fd, "file498") == "498"
    finally:
        os.close(fd)


def test_an_overlay_that_cannot_be_says_so_and_nothing_about_the_kernel(tmp_path: Path) -> None:
    overlay = writable(tmp_path, layers(tmp_path, 2))._replace(work=f"{tmp_path}/upper")
    with pytest.raises(OSError, match="Invalid argument"):
        mount.open_overlay(overlay)
    with pytest.raises(FileNotFoundError):
        mount.open_overlay(overlay._replace(lower=(f"{tmp_path}/none", f"{tmp_path}/layer0")))


@pytest.mark.parametrize("command", [syscalls.FSCONFIG_SET_STRING, syscalls.FSCONFIG_CMD_CREATE])
def test_an_older_kernel_is_known_by_its_answer(tmp_path: Path, command: int) -> None:
    """6.5 refuses the word, 6.1 collects words and refuses to create."""
    overlay = writable(tmp_path, layers(tmp_path, 120), volatile=True)

    def work() -> bool:
        mount._Kernel.adds_layers = True
        old_kernel.refuse_fsconfig(command, errno.EINVAL)
        for _ in range(2):
            fd = mount.open_overlay(overlay)
            assert read(fd, "file119") == "119"
            os.close(fd)
        return not mount._Kernel.adds_layers

    assert in_child(work)


@pytest.mark.parametrize("count", [1, 2])
def test_without_an_upper_directory_nothing_can_be_written(tmp_path: Path, count: int) -> None:
    fd = mount.open_overlay(Overlay(layers(tmp_path, count)))
    try:
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("made", dir_fd=fd)
    finally:
        os.close(fd)


def test_an_image_without_layers_is_its_upper_directory(tmp_path: Path) -> None:
    fd = mount.open_overlay(writable(tmp_path, ()))
    try:
        os.mkdir("made", dir_fd=fd)
    finally:
        os.close(fd)
    assert (tmp_path / "upper/made").is_dir()


def test_a_volatile_overlay_can_be_mounted_again(tmp_path: Path) -> None:
    overlay = writable(tmp_path, layers(tmp_path, 2), volatile=True)
    for name in ("one", "two", "three"):
        fd = mount.open_overlay(overlay._replace(volatile=name != "three"))
        os.mkdir(name, dir_fd=fd)
        os.close(fd)
    assert {path.name for path in (tmp_path / "upper").iterdir()} == {"one", "two", "three"}


def test_a_detached_mount_is_attached_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    overlay = writable(tmp_path, layers(tmp_path, 2))

    def work() -> bool:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        mount.attach(mount.open_overlay(overlay), f"{tmp_path}/target")
        return (tmp_path / "target/file1").exists()

    assert in_child(work)


def test_the_spawner_can_load_it() -> None:
    root = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import pier.linux.mount;"
        "bad = {'dataclasses', 'pathlib', 'asyncio', 'logging', 'inspect'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-I", "-S", "-c", code]) == 0
