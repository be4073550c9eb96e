"""Our registry over HTTP: the distribution specification, section by section."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from pier.registry.protocol import INDEX_OCI, MANIFEST_LIMIT
from tests.clients.registries import (
    Answer,
    digest,
    free_port,
    http,
    pier_argv,
    pier_registry,
    put_blob,
    put_image,
    running,
    small_image,
)
from tests.daemon import SLOWNESS


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as address:
        yield address


def test_it_answers_to_its_version(host: str) -> None:
    answer = http("GET", f"http://{host}/v2/")
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_a_blob_goes_in_whole_and_comes_out_in_parts(host: str) -> None:
    data = os.urandom(100_000)
    url = f"http://{host}/v2/one/whole/blobs/uploads/?digest={digest(data)}"
    assert http("POST", url, data).status == 201
    url = f"http://{host}/v2/one/whole/blobs/{digest(data)}"
    assert http("GET", url).body == data
    head = http("HEAD", url)
    assert (head.status, head.headers["Content-Length"]) == (200, "100000")
    part = http("GET", url, Range="bytes=50000-")
    assert (part.status, part.body) == (206, data[50_000:])
    assert part.headers["Content-Range"] == "bytes 50000-99999/100000"
    assert http("GET", url, Range="bytes=100000-").status == 416
    assert http("GET", f"http://{host}/v2/other/repo/blobs/{digest(data)}").code == "BLOB_UNKNOWN"


def test_chunks_follow_each_other(host: str) -> None:
    data = os.urandom(3000)
    location = begin(host, "chunked")
    answer = http("PATCH", location, data[:1000], Content_Range="0-999")
    assert (answer.status, answer.headers["Range"]) == (202, "0-999")
    location = f"http://{host}{answer.headers['Location']}"
    wrong = http("PATCH", location, data[:10], Content_Range="500-509")
    assert (wrong.status, wrong.headers["Range"]) == (416, "0-999")
    assert http("PATCH", location, data[1000:2000], Content_Range="1000-1999").status == 202
    status = http("GET", location)
    assert (status.status, status.headers["Range"]) == (204, "0-1999")
    done = http("PUT", f"{location}?digest={digest(data)}", data[2000:])
    assert done.status == 201
    assert http("GET", f"http://{host}{done.headers['Location']}").body == data
    assert http("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def begin(host: str, name: str) -> str:
    answer = http("POST", f"http://{host}/v2/{name}/blobs/uploads/", b"")
    assert answer.status == 202
    return f"http://{host}{answer.headers['Location']}"


def test_wrong_content_and_strange_uploads_are_refused(host: str) -> None:
    location = begin(host, "wrong")
    assert http("PUT", f"{location}?digest={digest(b'a')}", b"b").code == "DIGEST_INVALID"
    assert http("GET", location).status == 404
    location = begin(host, "wrong")
    assert http("PUT", f"{location}?digest=md5:aa", b"b").code == "DIGEST_INVALID"
    assert http("DELETE", location).status == 204
    assert http("PATCH", location, b"x").status == 404
    other = location.replace("/wrong/", "/right/")
    assert http("PATCH", other, b"x").status == 404
    assert http("GET", f"http://{host}/v2/wrong/blobs/uploads/../../x").status == 404
    assert http("POST", f"http://{host}/v2/UPPER/blobs/uploads/", b"").code == "NAME_INVALID"


def test_a_broken_upload_keeps_what_has_arrived_even_over_a_restart(tmp_path: Path) -> None:
    data = os.urandom(50_000)
    port = free_port()
    with pier_registry(tmp_path / "root", port=port) as host:
        location = begin(host, "broken")
        path = location.partition(host)[2]
        with socket.create_connection(("127.0.0.1", port)) as raw:
            head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n"
            raw.sendall(head.encode() + data[:20_000])
            time.sleep(0.2)
        for _ in range(100):
            if http("GET", location).headers["Range"] == "0-19999":
                break
            time.sleep(0.05)
    with pier_registry(tmp_path / "root", port=port) as host:
        assert http("GET", location).headers["Range"] == "0-19999"
        answer = http("PATCH", location, data[20_000:], Content_Range="20000-49999")
        assert answer.status == 202
        assert http("PUT", f"{location}?digest={digest(data)}", b"").status == 201


def test_blobs_are_mounted_across_repositories(host: str) -> None:
    data = os.urandom(100)
    put_blob(host, "mount/source", data)
    url = f"http://{host}/v2/mount/target/blobs/uploads/?mount={digest(data)}&from=mount/source"
    assert http("POST", url, b"").status == 201
    assert http("GET", f"http://{host}/v2/mount/target/blobs/{digest(data)}").body == data
    url = f"http://{host}/v2/mount/target/blobs/uploads/?mount={digest(b'no')}&from=mount/source"
    assert http("POST", url, b"").status == 202


def test_manifests_need_their_blobs_and_their_type(host: str) -> None:
    image = small_image()
    url = f"http://{host}/v2/needy/manifests/latest"
    kind = {"Content_Type": image.media_type}
    assert http("PUT", url, image.manifest, **kind).code == "MANIFEST_BLOB_UNKNOWN"
    put_image(host, "needy", "latest", image)
    answer = http("GET", url)
    assert answer.body == image.manifest
    assert answer.headers["Content-Type"] == image.media_type
    assert answer.headers["Docker-Content-Digest"] == digest(image.manifest)
    assert http("PUT", url, image.manifest, Content_Type="x/y").code == "MANIFEST_INVALID"
    assert http("PUT", url, b"{}", **kind).code == "MANIFEST_INVALID"
    assert http("PUT", url, b"[" * 100_000, **kind).code == "MANIFEST_INVALID"
    by_wrong = f"http://{host}/v2/needy/manifests/{digest(b'x')}"
    assert http("PUT", by_wrong, image.manifest, **kind).code == "DIGEST_INVALID"
    big = b'{"a":"' + b"x" * MANIFEST_LIMIT + b'"}'
    assert http("PUT", url, big, **kind).status == 413
    assert http("GET", f"http://{host}/v2/needy/manifests/none").code == "MANIFEST_UNKNOWN"
    assert http("GET", f"http://{host}/v2/nobody/manifests/none").code == "NAME_UNKNOWN"


def test_tags_and_the_catalogue_come_in_pages(tmp_path: Path) -> None:
    with pier_registry(tmp_path / "root") as host:
        image = small_image()
        for name in ("b", "a/c", "a-d", "z"):
            put_image(host, name, "t", image)
        for tag in ("3", "1", "2"):
            put_image(host, "b", tag, image)
        first = http("GET", f"http://{host}/v2/b/tags/list?n=3")
        assert json.loads(first.body) == {"name": "b", "tags": ["1", "2", "3"]}
        link = first.headers["Link"]
        assert link == '</v2/b/tags/list?n=3&last=3>; rel="next"'
        rest = http("GET", f"http://{host}{link[1:].partition('>')[0]}")
        assert json.loads(rest.body)["tags"] == ["t"]
        assert "Link" not in rest.headers
        assert json.loads(http("GET", f"http://{host}/v2/b/tags/list?n=0").body)["tags"] == []
        catalogue = http("GET", f"http://{host}/v2/_catalog?n=3")
        assert json.loads(catalogue.body) == {"repositories": ["a-d", "a/c", "b"]}
        assert 'last=b>; rel="next"' in catalogue.headers["Link"]
        put_blob(host, "only/blobs", b"x")
        assert "only/blobs" not in http("GET", f"http://{host}/v2/_catalog").body.decode()
        bad = http("GET", f"http://{host}/v2/b/tags/list?n=x")
        assert bad.code == "PAGINATION_NUMBER_INVALID"


def test_deleting_a_manifest_takes_its_tags_and_deleting_a_tag_only_it(host: str) -> None:
    image = small_image(mark="deleted")
    for tag in ("one", "two"):
        put_image(host, "deletes", tag, image)
    base = f"http://{host}/v2/deletes/manifests"
    assert http("DELETE", f"{base}/one").status == 202
    assert http("GET", f"{base}/one").status == 404
    assert http("GET", f"{base}/two").status == 200
    assert http("DELETE", f"{base}/{digest(image.manifest)}").status == 202
    assert http("GET", f"{base}/two").status == 404
    assert http("DELETE", f"{base}/{digest(image.manifest)}").status == 404
    blob = f"http://{host}/v2/deletes/blobs/{digest(image.layer)}"
    assert http("DELETE", blob).status == 202
    assert http("GET", blob).status == 404


def test_referrers_are_listed_filtered_and_forgotten(host: str) -> None:
    image = small_image(mark="subject")
    put_image(host, "refs", "latest", image)
    put_blob(host, "refs", b"{}")
    subject = digest(image.manifest)
    manifests = [referring(subject, f"application/x.{kind}") for kind in ("sig", "sbom")]
    for data in manifests:
        url = f"http://{host}/v2/refs/manifests/{digest(data)}"
        answer = http("PUT", url, data, Content_Type="application/vnd.oci.image.manifest.v1+json")
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject)
    found = referrers(host, subject)
    assert {entry["digest"] for entry in found} == {digest(data) for data in manifests}
    (one,) = referrers(host, subject, "?artifactType=application/x.sbom")
    assert one["artifactType"] == "application/x.sbom"
    assert one["annotations"] == {"a": "b"}
    assert http("DELETE", f"http://{host}/v2/refs/manifests/{one['digest']}").status == 202
    assert len(referrers(host, subject)) == 1
    assert referrers(host, digest(b"nothing")) == []


def referring(subject: str, kind: str) -> bytes:
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest(b"{}"),
        "size": 2,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": "x/y", "digest": subject, "size": 1},
        "annotations": {"a": "b"},
    }
    return json.dumps(manifest).encode()


def referrers(host: str, subject: str, query: str = "") -> list[dict[str, object]]:
    answer = http("GET", f"http://{host}/v2/refs/referrers/{subject}{query}")
    assert answer.headers["Content-Type"] == INDEX_OCI
    if query:
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    found: list[dict[str, object]] = json.loads(answer.body)["manifests"]
    return found


def test_what_is_kept_survives_a_kill(tmp_path: Path) -> None:
    image = small_image()
    port = free_port()
    with pier_registry(tmp_path / "root", port=port) as host:
        put_image(host, "kept", "latest", image)
    with pier_registry(tmp_path / "root", port=port) as host:
        answer = http("GET", f"http://{host}/v2/kept/manifests/latest")
        assert answer.body == image.manifest
    files = sorted(path.name for path in (tmp_path / "root").iterdir())
    assert files == ["blobs", "repositories", "tmp", "uploads"]


def test_read_only_refuses_every_write(tmp_path: Path) -> None:
    image = small_image()
    with pier_registry(tmp_path / "root") as host:
        put_image(host, "a", "latest", image)
    with pier_registry(tmp_path / "root", "--readonly") as host:
        assert http("GET", f"http://{host}/v2/a/manifests/latest").status == 200
        for method, path in (
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", "/v2/a/manifests/latest"),
            ("DELETE", "/v2/a/manifests/latest"),
        ):
            answer = http(method, f"http://{host}{path}", b"")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")


def test_htpasswd_guards_and_anonymous_pull_opens_reading(tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=4)).decode()
    file.write_text(f"# who\nann:{hashed}\n")
    root = tmp_path / "root"
    with pier_registry(root, "--htpasswd", str(file), "--anonymous-pull") as host:
        assert http("POST", f"http://{host}/v2/a/blobs/uploads/", b"").status == 401
        assert http("GET", f"http://{host}/v2/a/tags/list").code == "NAME_UNKNOWN"
        asked = http("GET", f"http://{host}/v2/")
        realm = f'Bearer realm="http://{host}/token",service="pier registry"'
        assert (asked.status, asked.headers["WWW-Authenticate"]) == (401, realm)
        anybody = json.loads(http("GET", f"http://{host}/token").body)["token"]
        bearer = {"Authorization": f"Bearer {anybody}"}
        assert http("GET", f"http://{host}/v2/", None, **bearer).status == 200
        assert http("POST", f"http://{host}/v2/a/blobs/uploads/", b"", **bearer).status == 401
        forged = {"Authorization": f"Bearer {anybody[:-8]}AAAAAAA="}
        assert http("GET", f"http://{host}/v2/", None, **forged).status == 401
        basic = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        token = json.loads(http("GET", f"http://{host}/token", None, **basic).body)["token"]
        known = {"Authorization": f"Bearer {token}"}
        assert http("POST", f"http://{host}/v2/a/blobs/uploads/", b"", **known).status == 202
        wrong = {"Authorization": "Basic " + base64.b64encode(b"ann:wrong").decode()}
        assert http("GET", f"http://{host}/token", None, **wrong).status == 401
    with pier_registry(root, "--htpasswd", str(file)) as host:
        assert http("GET", f"http://{host}/token").status == 404
        answer = http("GET", f"http://{host}/v2/")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="pier registry"'
        assert answer.code == "UNAUTHORIZED"
        assert with_basic(host, "ann", "secret").status == 200
        assert with_basic(host, "ann", "wrong").status == 401
        assert with_basic(host, "eve", "secret").status == 401
        assert with_basic(host, "ann", "secret").status == 200


def test_guessed_passwords_keep_nobody_from_reading(tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=12)).decode()
    file.write_text(f"ann:{hashed}\n")
    image = small_image()
    with pier_registry(tmp_path / "root") as host:
        put_image(host, "a", "latest", image)
    with pier_registry(tmp_path / "root", "--htpasswd", str(file)) as host:
        assert with_basic(host, "ann", "secret").status == 200
        with ThreadPoolExecutor(24) as threads:
            guesses = [threads.submit(with_basic, host, "ann", f"no{n}") for n in range(24)]
            started = time.monotonic()
            value = base64.b64encode(b"ann:secret").decode()
            url = f"http://{host}/v2/a/manifests/latest"
            read = http("GET", url, Authorization=f"Basic {value}")
            took_s = time.monotonic() - started
        assert read.body == image.manifest
        assert took_s < 5 * SLOWNESS
        statuses = [guess.result().status for guess in guesses]
        assert set(statuses) <= {401, 429}
        assert 429 in statuses
        assert with_basic(host, "ann", "secret").status == 200


def with_basic(host: str, user: str, password: str) -> Answer:
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    return http("GET", f"http://{host}/v2/", Authorization=f"Basic {value}")


def test_other_hashes_than_bcrypt_are_refused_at_start(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text("ann:{SHA}abc\n")
    argv = pier_argv(tmp_path / "r", "127.0.0.1:0", "--htpasswd", str(file))
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "line 1: only bcrypt entries are taken" in done.stderr


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    flags = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with pier_registry(tmp_path / "root", *flags) as host:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with urllib.request.urlopen(f"https://{host}/v2/", context=context) as response:
            assert response.status == 200


def test_collection_removes_what_nothing_needs_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image = small_image()
    with pier_registry(root, "--gc-grace", "3", "--gc-every", "0.3") as host:
        put_image(host, "a", "latest", image)
        put_image(host, "b", "gone", small_image(b"other layer", "b"))
        location = begin(host, "a")
        url = f"http://{host}/v2/b/manifests/gone"
        gone = http("GET", url).headers["Docker-Content-Digest"]
        assert http("DELETE", f"http://{host}/v2/b/manifests/{gone}").status == 202
        blobs = root / "blobs" / "sha256"
        deadline = time.monotonic() + 30
        while len(list(blobs.iterdir())) > 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)  # the session is as old, and went in the same round or goes in the next
        kept = {digest(data)[7:] for data in (image.config, image.layer, image.manifest)}
        assert {path.name for path in blobs.iterdir()} == kept
        assert http("GET", location).status == 404
        assert http("GET", f"http://{host}/v2/a/blobs/{digest(image.layer)}").status == 200


def test_a_blob_somebody_asked_about_is_spared(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    host = f"127.0.0.1:{free_port()}"
    root.mkdir()
    with running(pier_argv(root, host, "--gc-grace", "3600"), host, log) as process:
        put_blob(host, "a", b"orphan")
        old = time.time() - 7200
        for path in (*root.glob("blobs/sha256/*"), *root.glob("repositories/a/blobs/*")):
            os.utime(path, (old, old))
        http("HEAD", f"http://{host}/v2/a/blobs/{digest(b'orphan')}")
        process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while "collected" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "collected 0 blobs" in log.read_text()
        assert http("GET", f"http://{host}/v2/a/blobs/{digest(b'orphan')}").status == 200


def test_metrics_count_requests(host: str) -> None:
    pytest.importorskip("prometheus_client")
    http("GET", f"http://{host}/v2/")
    text = http("GET", f"http://{host}/metrics").body.decode()
    assert 'pier_registry_requests_total{method="GET",route="/v2/",status="200"}' in text
