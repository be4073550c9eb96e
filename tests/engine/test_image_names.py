"""Images by the names and in the archives that Docker 28 takes, and containers by their links."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from typing_extensions import override

from tests.daemon import Daemon
from tests.engine.archives import members, reconfigured, tar_of

FREE = "127.0.0.1:9"
"""The port of discard, where nobody listens."""


@pytest.fixture(scope="module")
def busybox(daemon: Daemon) -> str:
    """Its ID, in hexadecimal."""
    return daemon.docker("inspect", "-f", "{{.Id}}", "busybox").strip().removeprefix("sha256:")


def answer_of(daemon: Daemon, name: str) -> tuple[int, str]:
    """Of an inspect: its status, and the ID or the error."""
    status, answer = daemon.api("GET", f"/images/{name}/json")
    return status, answer.get("Id") or answer["message"]


def test_an_image_is_found_by_every_form_of_its_id(daemon: Daemon, busybox: str) -> None:
    for name in (busybox, f"sha256:{busybox}", busybox[:12], f"sha256:{busybox[:8]}", busybox[:3]):
        assert answer_of(daemon, name) == (200, f"sha256:{busybox}")
        status, made = daemon.api("POST", "/containers/create", {"Image": name, "Cmd": ["true"]})
        assert status == 201
        daemon.docker("rm", made["Id"])


def test_an_id_is_no_tag_and_no_digest(daemon: Daemon, busybox: str) -> None:
    for name in (f"busybox:{busybox}", f"busybox@sha256:{busybox}", f"busybox:{busybox[:12]}"):
        assert answer_of(daemon, name) == (404, f"No such image: {name}")
        status, answer = daemon.api("POST", "/containers/create", {"Image": name, "Cmd": ["x"]})
        assert (status, answer["message"]) == (404, f"No such image: {name}")


def test_a_name_goes_before_an_id_that_begins_like_it(daemon: Daemon, busybox: str) -> None:
    saved = daemon.run(["docker", "save", "busybox"]).stdout
    name = busybox[:8]
    loaded = reconfigured(saved, f"{name}:latest", {"Labels": {"another": "image"}})
    daemon.docker("load", "-q", stdin=loaded)
    found = answer_of(daemon, name)
    assert found[0] == 200
    assert found[1] != f"sha256:{busybox}"
    assert answer_of(daemon, f"{name}:latest") == found
    assert answer_of(daemon, f"sha256:{name}") == (200, f"sha256:{busybox}")
    assert answer_of(daemon, busybox[:9]) == (200, f"sha256:{busybox}")
    daemon.docker("rmi", f"{name}:latest")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("busybox:", "invalid reference format"),
        (
            "Busybox",
            "invalid reference format: repository name (library/Busybox) must be lowercase",
        ),
        ("busybox:sha256:" + "0" * 64, "invalid reference format"),
    ],
)
def test_what_can_be_no_name_is_refused_as_one(daemon: Daemon, name: str, why: str) -> None:
    assert answer_of(daemon, name) == (400, why)
    body = {"Image": name, "Cmd": ["true"]}
    assert daemon.api("POST", "/containers/create", body) == (400, {"message": why})


@pytest.mark.parametrize(
    "path",
    [
        f"/images/create?fromImage={FREE}/x&tag=1",
        "/images/create?fromSrc=-&repo=x",
        "/containers/create",
    ],
)
def test_a_platform_that_is_none_is_refused_at_once(daemon: Daemon, path: str) -> None:
    for platform, why in (
        ("foobar", '"foobar": unknown operating system or architecture: invalid argument'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
    ):
        url = f"{path}{'&' if '?' in path else '?'}platform={platform}"
        body = {"Image": "busybox", "Cmd": ["true"]}
        assert daemon.api("POST", url, body) == (400, {"message": why})


def test_import_refuses_another_system(daemon: Daemon) -> None:
    url = "/images/create?fromSrc=-&repo=x&platform=windows/amd64"
    assert daemon.api("POST", url) == (400, {"message": "operating system is not supported"})


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/root.tar"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(tar_of({"hello": b"hi\n"}) if found else b"nothing here")

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_import_takes_a_url(daemon: Daemon, site: str) -> None:
    told = daemon.docker("import", f"http://{site}/root.tar", "fetched:1")
    assert f"Downloading from http://{site}/root.tar" in told
    daemon.docker("create", "--name", "fetched", "fetched:1", "x")
    assert b"hi\n" in daemon.run(["docker", "cp", "fetched:/hello", "-"]).stdout
    shown = daemon.docker("history", "--format", "{{.Comment}}", "fetched:1")
    assert shown == f"Imported from http://{site}/root.tar\n"
    daemon.docker("rm", "fetched")
    daemon.docker("rmi", "fetched:1")


@pytest.mark.parametrize(
    ("source", "status", "why"),
    [
        ("http://SITE/none", 404,
         "failed to GET http://SITE/none with status 404 Not Found: nothing here"),
        ("SITE/%2Fdata", 404,
         "failed to GET http://SITE/%2Fdata with status 404 Not Found: nothing here"),
        ("%2Fdata%2Ffile.tar", 400,
         'parse "http://%2Fdata%2Ffile.tar": invalid URL escape "%2F"'),
        ("http://SITE/%zz", 400, 'parse "http://SITE/%zz": invalid URL escape "%zz"'),
        ("file:///etc/passwd", 500,
         'Get "file:///etc/passwd": unsupported protocol scheme "file"'),
        ("/etc/passwd", 500, 'Get "http:///etc/passwd": http: no Host in request URL'),
        (f"{FREE}/x", 500,
         f'Get "http://{FREE}/x": dial tcp {FREE}: connect: connection refused'),
        ("http://[::1/x", 400, 'parse "http://[::1/x": Invalid IPv6 URL'),
    ],
)  # fmt: skip
def test_a_bad_source_of_an_import_is_named(
    daemon: Daemon, site: str, source: str, status: int, why: str
) -> None:
    asked = urllib.parse.quote(source.replace("SITE", site), safe="")
    answer = daemon.api("POST", f"/images/create?repo=x&fromSrc={asked}")
    assert answer == (status, {"message": why.replace("SITE", site)})


def layout(config: Mapping[str, Any], layers: Sequence[bytes], **more: Any) -> dict[str, bytes]:
    """A pure OCI layout of one image; more: of its manifest, its index entry, its index."""
    blobs: dict[str, bytes] = {}

    def keep(kind: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image."
    manifest = {
        "mediaType": f"{oci}manifest.v1+json",
        "config": keep(f"{oci}config.v1+json", json.dumps(config).encode()),
        "layers": [keep(f"{oci}layer.v1.tar", layer) for layer in layers],
        **more.get("manifest", {}),
    }
    entry = keep(f"{oci}manifest.v1+json", json.dumps(manifest).encode())
    index = {"schemaVersion": 2, "manifests": [{**entry, **more.get("entry", {})}]}
    return {
        **blobs,
        "index.json": json.dumps(index).encode(),
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
    }


def config_of(*layers: bytes) -> dict[str, Any]:
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    rootfs = {"type": "layers", "diff_ids": digests or None}
    return {"architecture": "amd64", "os": "linux", "created": None, "rootfs": rootfs}


NAMED = {
    "io.containerd.image.name": "docker.io/library/laid:1",
    "org.opencontainers.image.ref.name": "1",
}


@pytest.mark.parametrize("version", [{}, {"schemaVersion": 0}, {"schemaVersion": 2}])
def test_load_takes_a_layout_of_oci_alone(daemon: Daemon, version: dict[str, int]) -> None:
    layer = tar_of({"foo": b"1"})
    files = layout(config_of(layer), [layer], manifest=version, entry={"annotations": NAMED})
    assert daemon.docker("load", "-q", stdin=tar_of(files)) == "Loaded image: laid:1\n"
    saved = members(daemon.run(["docker", "save", "laid:1"]).stdout)
    entry = json.loads(saved["index.json"])["manifests"][0]
    assert entry["annotations"] == NAMED
    assert set(files) <= {*saved, "manifest.json", "repositories"}
    assert json.loads(saved["manifest.json"])[0]["RepoTags"] == ["laid:1"]
    assert "laid" in json.loads(saved["repositories"])
    daemon.docker("rmi", "laid:1")


def test_images_without_names_and_layers_are_loaded(daemon: Daemon) -> None:
    files = layout(config_of(), [])
    config = json.loads(next(data for name, data in files.items() if b"rootfs" in data))
    assert config == config_of()
    told = daemon.docker("load", "-q", stdin=tar_of(files))
    assert told.startswith("Loaded image ID: sha256:")
    image_id = told.split()[-1]
    shown = daemon.api("GET", f"/images/{image_id}/json")[1]
    assert (shown["RepoTags"], shown["RepoDigests"]) == ([], [])
    daemon.docker("rmi", image_id)


def test_a_loaded_name_leaves_its_old_image_without_one(daemon: Daemon) -> None:
    ids = []
    for content in (b"1", b"2"):
        layer = tar_of({"bar": content})
        files = layout(config_of(layer), [layer], entry={"annotations": NAMED})
        assert "Loaded image: laid:1" in daemon.docker("load", "-q", stdin=tar_of(files))
        ids.append(daemon.docker("inspect", "-f", "{{.Id}}", "laid:1").strip())
    listed = {image["Id"]: image["RepoTags"] for image in daemon.api("GET", "/images/json")[1]}
    assert [listed[image_id] for image_id in ids] == [[], ["laid:1"]]
    daemon.docker("rmi", *ids)


def test_an_image_of_another_system_is_not_loaded(daemon: Daemon) -> None:
    files = layout({**config_of(), "os": "windows"}, [])
    refused = daemon.docker("load", "-q", stdin=tar_of(files), status=1)
    assert "cannot load windows image on linux" in refused


def test_save_of_a_repository_takes_all_its_tags(daemon: Daemon) -> None:
    for tag in ("many:1", "many:2"):
        daemon.docker("tag", "busybox", tag)
    for tags in (["many:1", "many:2"], ["many:2"]):
        saved = members(daemon.run(["docker", "save", "many"]).stdout)
        assert json.loads(saved["manifest.json"])[0]["RepoTags"] == tags
        daemon.docker("rmi", tags[0])
    assert "No such image: many\n" in daemon.docker("save", "many", status=1)


def test_what_is_saved_is_as_old_as_its_image(daemon: Daemon) -> None:
    archive = daemon.run(["docker", "save", "busybox"]).stdout
    created = daemon.docker("inspect", "-f", "{{.Created}}", "busybox").strip()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        times = {entry.name: entry.mtime for entry in tar.getmembers()}
    config = json.loads(members(archive)["manifest.json"])[0]["Config"]
    assert datetime.fromisoformat(created).timestamp() // 1 == times[config] == max(times.values())


def test_an_image_is_saved_for_one_platform_at_most(daemon: Daemon) -> None:
    platforms = [json.dumps({"os": "linux", "architecture": name}) for name in ("amd64", "arm64")]
    query = urllib.parse.urlencode([("platform", text) for text in platforms])
    assert daemon.api("GET", f"/v1.51/images/busybox/get?{query}") == (
        400, {"message": "multiple platform parameters not supported"}
    )  # fmt: skip


def test_every_until_of_a_filter_holds(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "aging", "busybox", "true")
    times = []
    for number in range(3):
        daemon.docker("commit", "aging", f"aging:{number}")
        times.append(daemon.docker("inspect", "-f", "{{.Created}}", f"aging:{number}").strip())
        time.sleep(0.002)  # so that they differ
    for limits in (times[1:], times[:0:-1]):
        filters = {"reference": ["aging"], "until": limits}
        url = f"/images/json?filters={urllib.parse.quote(json.dumps(filters))}"
        assert [image["RepoTags"] for image in daemon.api("GET", url)[1]] == [["aging:0"]]
    daemon.docker("rm", "aging")
    daemon.docker("rmi", "aging:0", "aging:1", "aging:2")


def test_a_container_has_the_names_that_links_give_it(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "db", "busybox", "sleep", "300")
    daemon.docker("run", "-d", "--name", "app", "--link", "db:/mysql", "busybox", "sleep", "300")
    listed = {
        entry["Names"][-1]: entry["Names"] for entry in daemon.api("GET", "/containers/json")[1]
    }
    assert listed == {"/db": ["/app/mysql", "/db"], "/app": ["/app"]}
    assert daemon.docker("inspect", "-f", "{{.Name}}", "app/mysql") == "/db\n"
    assert daemon.docker("exec", "/app/mysql", "echo", "on") == "on\n"
    daemon.docker("rename", "app", "user")
    assert daemon.docker("inspect", "-f", "{{.Name}}", "user/mysql") == "/db\n"
    daemon.docker("inspect", "app/mysql", status=1)
    daemon.docker("rename", "user/mysql", "data")
    shown = daemon.docker("inspect", "-f", "{{.HostConfig.Links}}", "user")
    assert shown == "[/data:/user/mysql]\n"
    daemon.docker("run", "--rm", "--link", "user/mysql:via", "busybox", "grep", "via", "/etc/hosts")
    daemon.docker("rm", "-f", "user/mysql")
    daemon.docker("inspect", "user/mysql", status=1)
    daemon.docker("rm", "-f", "user")
