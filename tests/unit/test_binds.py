"""Docker's grammar for mounts, and who wins where two meet."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.containers.binds import (
    DuplicateMountPoint,
    mount_points,
    parse_bind,
    parse_volumes_from,
    volumes_from_names,
)
from pier.containers.model import Container, MountPoint
from pier.containers.spec import ContainerSpec, HostSpec, MountRequest
from pier.errors import InvalidArgument


def names() -> Iterator[str]:
    yield from (f"anonymous{number}" for number in range(9))


def points(
    host: HostSpec, volumes: tuple[str, ...] = (), others: dict[str, Container] | None = None
) -> tuple[MountPoint, ...]:
    spec = ContainerSpec(host=host, volumes=volumes)
    fresh = names()
    return mount_points(
        spec,
        others or {},
        exists=lambda path: path != "/missing",
        new_name=lambda: next(fresh),
        daemon_root="/var/lib/pier",
    )


def bind(destination: str, source: str = "/s", **more: object) -> MountPoint:
    given = {"propagation": "rprivate", **more}
    return MountPoint(kind="bind", destination=destination, source=source, **given)  # type: ignore[arg-type]  # a table of keywords


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/s:/d", bind("/d", create_source=True)),
        ("/s/../s/:/d/", bind("/d", create_source=True)),
        ("//s:/d", bind("/d", create_source=True)),
        ("/s:/d:ro,Z,rslave", bind("/d", create_source=True, writable=False, mode="ro,Z,rslave",
                                   propagation="rslave")),
        ("data:/d", MountPoint(kind="volume", destination="/d", name="data", driver="local")),
        ("data:/d:nocopy,ro", MountPoint(kind="volume", destination="/d", name="data", no_copy=True,
                                         driver="local", writable=False, mode="nocopy,ro")),
        ("/d", MountPoint(kind="volume", destination="/d", driver="local")),
    ],
)  # fmt: skip
def test_v_is_understood(raw: str, expected: MountPoint) -> None:
    assert parse_bind(raw) == expected


@pytest.mark.parametrize("path", ["/proc", "/proc/", "/proc/self", "/x/../proc/sys", "//proc"])
def test_nothing_takes_the_place_of_procfs(path: str) -> None:
    for host, volumes in (
        (HostSpec(binds=(f"/s:{path}",)), ()),
        (HostSpec(binds=(f"v:{path}",)), ()),
        (HostSpec(tmpfs={path: ""}), ()),
        (HostSpec(mounts=(MountRequest(kind="bind", source="/s", target=path),)), ()),
        (HostSpec(), (path,)),  # an image's VOLUME
    ):
        with pytest.raises(InvalidArgument, match="because it is inside /proc"):
            points(host, volumes)


def test_an_images_volume_has_no_nul() -> None:
    with pytest.raises(InvalidArgument):
        points(HostSpec(), ("/a\0b",))


def test_the_hosts_procfs_and_what_lxcfs_has_may_be_bound() -> None:
    points(HostSpec(binds=("/proc:/proc", "/lxcfs/meminfo:/proc/meminfo")))


@pytest.mark.parametrize("option", ["bind", "rbind", "remount", "idmap", "size", "foo=1", "mode="])
def test_a_tmpfs_is_a_tmpfs(option: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid tmpfs option"):
        points(HostSpec(tmpfs={"/t": f"rw,{option}"}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":/d", "invalid volume specification: ':/d'"),
        ("/d:ro", "invalid volume specification: '/d:ro'"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        ("/a:/b:fast", "invalid mode: fast"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        (
            "/a:b",
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": "
            "invalid mount path: 'b' mount path must be absolute",
        ),
        (
            "a:/",
            "invalid volume specification: 'a:/': invalid mount config for type \"volume\": "
            "invalid specification: destination can't be '/'",
        ),
    ],
)
def test_v_is_refused_in_dockers_words(raw: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_bind(raw)
    assert str(refused.value) == message


def test_mount_requests() -> None:
    asked = (
        MountRequest(kind="bind", source="/s", target="/a", propagation="rshared", readonly=True),
        MountRequest(kind="volume", source="data", target="/b", no_copy=True, subpath="x/./y"),
        MountRequest(kind="volume", target="/c"),
        MountRequest(kind="tmpfs", target="/d", tmpfs_size=64 << 20, tmpfs_mode=0o1770,
                     tmpfs_options=(("exec",),), readonly=True),
        MountRequest(kind="image", source="busybox", target="/e", subpath="bin"),
        MountRequest(kind="bind", source="/missing", target="/f", create_mountpoint=True),
    )  # fmt: skip
    assert points(HostSpec(mounts=asked)) == (
        bind("/a", writable=False, propagation="rshared"),
        MountPoint(kind="volume", destination="/b", name="data", driver="local", no_copy=True,
                   subpath="x/y", mode="z"),
        MountPoint(kind="volume", destination="/c", name="anonymous0", driver="local", mode="z",
                   anonymous=True),
        MountPoint(kind="tmpfs", destination="/d", writable=False,
                   options="ro,mode=1770,size=64m,exec"),
        MountPoint(kind="image", destination="/e", source="busybox", subpath="bin",
                   writable=False),
        bind("/f", "/missing", create_source=True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (
            MountRequest(kind="bind", source="/missing", target="/d"),
            'type "bind": bind source path does not exist: /missing',
        ),
        (MountRequest(kind="bind", target="/d"), 'type "bind": field Source must not be empty'),
        (MountRequest(kind="bind", source="/s", target=""), "field Target must not be empty"),
        (
            MountRequest(kind="bind", source="s", target="/d"),
            "invalid mount path: 's' mount path must be absolute",
        ),
        (
            MountRequest(kind="bind", source="/s", target="/d", propagation="warm"),
            "invalid propagation mode: warm",
        ),
        (
            MountRequest(kind="tmpfs", source="/s", target="/d"),
            "field Source must not be specified",
        ),
        (
            MountRequest(kind="tmpfs", target="/d", tmpfs_options=(("uid", "1"),)),
            "invalid option: uid",
        ),
        (
            MountRequest(kind="volume", source="v", target="/d", subpath="a/../../b"),
            "subpath must be a relative path within the volume",
        ),
        (
            MountRequest(kind="volume", source="v", target="/d", subpath="/b"),
            "subpath must be a relative path within the volume",
        ),
        (MountRequest(kind="volume", target="/d", subpath="b"), "anonymous volumes"),
        (MountRequest(kind="cluster", target="/d"), "mount type unknown"),
    ],
)
def test_impossible_requests(request_: MountRequest, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        points(HostSpec(mounts=(request_,)))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        HostSpec(binds=("/a:/d", "/b:/d/")),
        HostSpec(binds=("/a:/d",), mounts=(MountRequest(kind="tmpfs", target="/d"),)),
        HostSpec(binds=("v:/d",), tmpfs={"/d": ""}),
    ],
)
def test_two_mounts_on_one_place(host: HostSpec) -> None:
    with pytest.raises(DuplicateMountPoint, match="Duplicate mount point: /d"):
        points(host)


def test_an_images_volume_gives_way_to_anything_asked() -> None:
    found = points(HostSpec(binds=("/s:/a",), tmpfs={"/b": "size=1k"}), ("/a", "/b/", "/c"))
    assert [(point.kind, point.destination, point.anonymous) for point in found] == [
        ("bind", "/a", False),
        ("tmpfs", "/b", False),
        ("volume", "/c", True),
    ]


def test_volumes_come_from_other_containers() -> None:
    other = Container(
        id="o", name="o", image_id="", spec=ContainerSpec(host=HostSpec(tmpfs={"/t": ""})),
        mounts=(
            bind("/a", writable=False),
            MountPoint(kind="volume", destination="/b", name="n", driver="local", anonymous=True),
            MountPoint(kind="volume", destination="/c", name="m", driver="local"),
            MountPoint(kind="tmpfs", destination="/t"),
        ),
    )  # fmt: skip
    host = HostSpec(volumes_from=("o",), binds=("mine:/c",))
    found = points(host, others={"o": other})
    assert [(point.destination, point.name, point.writable) for point in found] == [
        ("/a", "", False),
        ("/b", "n", True),
        ("/c", "mine", True),
    ]
    assert found[1].no_copy
    assert found[1].anonymous
    readonly = points(HostSpec(volumes_from=("o:ro",)), others={"o": other})
    assert [point.writable for point in readonly] == [False, False, False]


@pytest.mark.parametrize("text", ["", "o:fast", "o:rslave", "o:nocopy"])
def test_bad_volumes_from(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_volumes_from(text)


def test_the_names_in_volumes_from() -> None:
    assert volumes_from_names(("a", "b:ro")) == ["a", "b"]


@given(st.text(alphabet="/:a.,ro", max_size=20))
def test_any_bind_is_understood_or_refused(raw: str) -> None:
    try:
        point = parse_bind(raw)
    except InvalidArgument:
        return
    assert point.destination.startswith("/")
    assert point.destination != "/"
    assert ".." not in point.destination.split("/")
