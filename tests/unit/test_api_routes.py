"""What holds for every route, and the daemon's own, through a real server and a plain client."""

import json

import pytest

from tests.unit.api_client import URL, Client, Run
from tests.unit.fake_containers import WEB


def test_every_answer_says_who_speaks_and_up_to_which_version(run: Run) -> None:
    async def test(client: Client) -> None:
        for path in ("/_ping", "/v1.41/_ping", "/containers/json", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["Server"] == "Docker/28.5.2 (linux)"
            assert headers["Api-Version"] == "1.51"
            assert headers["Ostype"] == "linux"
            assert headers["Docker-Experimental"] == "false"

    run(test)


def test_ping_answers_head_and_get(run: Run) -> None:
    async def test(client: Client) -> None:
        got = await client.get("/_ping")
        assert (got.status, got.body) == (200, b"OK")
        assert got.headers["Builder-Version"] == "1"
        assert "no-store" in got.headers["Cache-Control"]
        head = await client.ask("HEAD", "/_ping")
        assert (head.status, head.headers["Content-Length"]) == (200, "0")
        assert (await client.ask("OPTIONS", "/any")).status == 200

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nowhere", 404, "page not found"),
        ("POST", "/containers/json", 404, "page not found"),
        ("GET", "/v1.99/info", 400, "client version 1.99 is too new. Maximum supported API"),
        ("GET", "/containers/x/json", 404, "No such container: x"),
        ("GET", "/images/a/b:c@d/json", 404, "No such image: a/b:c@d"),
        ("GET", "/images/reg:5000%2Fa/json", 404, "No such image: reg:5000/a"),
        ("GET", "/containers/json?filters={", 400, "invalid filter"),
        ("GET", "/containers/json?limit=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("GET", '/containers/json?filters={"status":["odd"]}', 400, "invalid filter 'status=odd'"),
        ("GET", "/containers/web/logs", 400, "Bad parameters: you must choose at least one"),
        ("POST", "/containers/web/resize?h=1", 400, 'invalid resize width "": invalid syntax'),
        (
            "POST",
            "/containers/web/resize?h=x&w=1",
            400,
            'invalid resize height "x": invalid syntax',
        ),
        (
            "POST",
            "/exec/none/resize?h=-1&w=1",
            400,
            'invalid resize height "-1": value out of range',
        ),
        ("POST", "/exec/none/resize?h=1&w=4294967296", 400, "invalid resize width"),
        ("POST", "/containers/web/wait?condition=soon", 400, 'invalid condition: "soon"'),
        ("GET", "/containers/web/archive?path=/nope", 404, "Could not find the file /nope"),
        ("GET", "/services", 503, "This node is not a swarm manager."),
        ("GET", "/swarm", 503, "This node is not a swarm manager."),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("PUT", "/volumes/data?version=1", 503, "This node is not a swarm manager."),
        ("GET", "/plugins/x/json", 404, 'plugin "x" not found'),
        ("POST", "/build", 501, "docker build is not supported by Pier yet"),
        ("POST", "/images/web/push", 501, "docker push is not supported by Pier yet"),
        ("POST", "/images/create?fromImage=scratch&tag=a", 403, "'scratch' is a reserved name"),
        ("GET", "/images/get", 400, "no images specified"),
        ("GET", "/system/df?type=dust", 400, "unknown object type: dust"),
    ],
)
def test_errors_are_a_status_and_a_message(
    run: Run, method: str, path: str, status: int, message: str
) -> None:
    async def test(client: Client) -> None:
        answer = await client.ask(method, path)
        assert answer.status == status
        assert answer.json["message"].startswith(message)

    run(test)


def test_web_pages_are_refused(run: Run) -> None:
    async def test(client: Client) -> None:
        assert (await client.ask("GET", "/info", Origin="http://evil")).status == 403

    run(test)


def test_a_bug_is_a_500_and_in_the_log(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(client: Client) -> None:
        client.engine.containers.records = None  # type: ignore[assignment]  # a broken engine
        answer = await client.get("/containers/json")
        assert answer.status == 500
        assert answer.json["message"].startswith("TypeError")

    run(test)
    assert "Traceback" in caplog.text


def test_bodies_must_be_json_and_say_so(run: Run) -> None:
    async def test(client: Client) -> None:
        text = await client.ask("POST", "/containers/create", b"{}", **{"Content-Type": "text/x"})
        assert text.json["message"].startswith("unsupported Content-Type header (text/x)")
        json_type = {"Content-Type": "application/json; charset=utf-8"}
        more = await client.ask("POST", "/containers/create", b"{} {}", **json_type)
        assert more.json["message"] == "unexpected content after JSON"
        nothing = await client.ask("POST", "/containers/create", b"", **json_type)
        assert nothing.status == 400

    run(test)


def test_a_query_may_be_long(run: Run) -> None:
    async def test(client: Client) -> None:
        names = json.dumps({"name": ["x" * 40_000, "web"]})
        assert len((await client.get(f"/containers/json?filters={names}")).json) == 1

    run(test)


def test_events_of_the_past_and_the_future_come_once(run: Run) -> None:
    async def test(client: Client) -> None:
        events = client.engine.events
        events.publish("container", "start", WEB, {"name": "web", "image": "busybox"})
        async with client.session.get(f"{URL}/v1.51/events?since=1") as response:
            assert response.content_type == "application/json"
            events.publish("network", "connect", "n", {"name": "bridge"})
            first = json.loads(await response.content.readline())
            assert (first["status"], first["id"], first["from"]) == ("start", WEB, "busybox")
            second = json.loads(await response.content.readline())
            assert second["Actor"] == {"ID": "n", "Attributes": {"name": "bridge"}}
        chosen = 'since=1&until=2000000000&filters={"type":["network"]}'
        url = f"{URL}/events?{chosen}"
        async with client.session.get(url) as response:
            assert response.content_type == "application/json"
            only = json.loads(await response.content.readline())
            assert (only["Type"], "status" in only) == ("network", False)

    run(test)


def test_version_and_info_tell_about_the_engine(run: Run) -> None:
    async def test(client: Client) -> None:
        version = (await client.get("/version")).json
        assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.51", "1.24")
        info = (await client.get("/info")).json
        assert (info["Containers"], info["ContainersRunning"]) == (3, 1)
        assert info["Swarm"]["LocalNodeState"] == "inactive"
        assert info["Runtimes"] == {"crun": {"path": "/usr/bin/crun"}}

    run(test)


def test_clients_too_old_for_json_are_told_so_in_plain_text(run: Run) -> None:
    async def test(client: Client) -> None:
        answer = await client.get("/v1.12/info")
        assert answer.status == 400
        assert answer.body.startswith(b"client version 1.12 is too old. Minimum supported API")

    run(test)
