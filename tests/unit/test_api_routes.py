"""The routes over an engine of records, through a real server and a plain HTTP client."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pier.api.streams import frame
from pier.containers.requests import LogQuery, WaitResult
from pier.containers.spec import EndpointSpec, RestartPolicy
from tests.unit.test_api_engine import IMAGE, JOB, NEW, WEB, FakeEngine, start

URL = "http://docker"


@dataclass
class Answer:
    status: int
    headers: Any  # aiohttp's case-insensitive mapping
    body: bytes

    @property
    def json(self) -> Any:  # JSON: its shape is what the tests are about
        assert self.headers["Content-Type"] == "application/json"
        assert self.body.endswith(b"\n")
        return json.loads(self.body)


@dataclass
class Client:
    session: aiohttp.ClientSession
    engine: FakeEngine

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        options: dict[str, Any] = {"headers": headers}
        if isinstance(body, bytes):
            options["data"] = body
        elif body is not None:
            options["json"] = body
        async with self.session.request(method, URL + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)


@contextlib.asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[Client]:
    engine, path = FakeEngine(), str(tmp_path / "s")
    listener = await start(engine, path)
    try:
        connector = aiohttp.UnixConnector(path)
        timeout = aiohttp.ClientTimeout(10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield Client(session, engine)
    finally:
        await listener.close()


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Client], Awaitable[None]]], None]:
    def running(test: Callable[[Client], Awaitable[None]]) -> None:
        async def main() -> None:
            async with connected(tmp_path) as client:
                await test(client)

        asyncio.run(main())

    return running


Run = Callable[[Callable[[Client], Awaitable[None]]], None]


def test_every_answer_says_who_speaks_and_up_to_which_version(run: Run) -> None:
    async def test(client: Client) -> None:
        for path in ("/_ping", "/v1.41/_ping", "/containers/json", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["Server"] == "Docker/28.2.0 (linux)"
            assert headers["Api-Version"] == "1.56"
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
        ("GET", "/v1.12/info", 400, "client version 1.12 is too old. Minimum supported API"),
        ("GET", "/containers/x/json", 404, "No such container: x"),
        ("GET", "/images/a/b:c@d/json", 404, "No such image: a/b:c@d"),
        ("GET", "/images/reg:5000%2Fa/json", 404, "No such image: reg:5000/a"),
        ("GET", "/containers/json?filters={", 400, "invalid filter"),
        ("GET", "/containers/json?limit=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("GET", '/containers/json?filters={"status":["odd"]}', 400, "invalid filter 'status=odd'"),
        ("GET", "/containers/web/logs", 400, "Bad parameters: you must choose at least one"),
        ("POST", "/containers/web/resize?h=1", 400, "invalid resize w"),
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


def test_create_answers_with_the_id_and_never_null(run: Run) -> None:
    async def test(client: Client) -> None:
        body = {"Image": "busybox", "Cmd": ["true"]}
        made = await client.ask("POST", "/containers/create?name=/x", body)
        assert made.status == 201
        assert made.json == {"Id": "d" * 64, "Warnings": []}
        assert ("create", "x", "") in client.engine.containers.calls
        missing = await client.ask("POST", "/containers/create", {"Image": "no"})
        assert (missing.status, missing.json["message"]) == (404, "No such image: no:latest")

    run(test)


def test_operations_reach_the_engine_with_their_parameters(run: Run) -> None:
    async def test(client: Client) -> None:
        for path in (
            "/containers/job/start",
            "/containers/web/stop?t=5&signal=SIGINT",
            "/v1.41/containers/web/stop?signal=SIGINT",
            "/containers/web/restart?t=-1",
            "/containers/web/kill?signal=HUP",
            "/containers/web/pause",
            "/containers/web/unpause",
            "/containers/web/rename?name=/new-name",
        ):
            assert (await client.ask("POST", path)).status == 204
        assert (await client.ask("POST", "/containers/web/resize?h=24&w=80")).status == 200
        removed = await client.ask("DELETE", "/containers/job?v=1&force=true&link=0")
        assert removed.status == 204
        assert client.engine.containers.calls == [
            ("start", "job"),
            ("stop", "web", 5, "SIGINT"),
            ("stop", "web", None, ""),
            ("restart", "web", -1, ""),
            ("kill", "web", "HUP"),
            ("pause", "web"),
            ("unpause", "web"),
            ("rename", "web", "new-name"),
            ("resize", "web", 24, 80),
            ("remove", "job", True, True, False),
        ]

    run(test)


def test_starting_what_runs_is_304_without_a_body(run: Run) -> None:
    async def test(client: Client) -> None:
        answer = await client.ask("POST", "/containers/web/start")
        assert (answer.status, answer.body) == (304, b"")

    run(test)


def test_update_passes_on_what_was_asked(run: Run) -> None:
    async def test(client: Client) -> None:
        body = {"Memory": 7, "CpuShares": 0, "RestartPolicy": {"Name": "always"}}
        answer = await client.ask("POST", "/containers/web/update", body)
        assert answer.json == {"Warnings": []}
        policy = RestartPolicy(name="always")
        assert client.engine.containers.calls == [("update", "web", {"memory": 7}, policy)]

    run(test)


def test_wait_sends_its_headers_before_the_end(run: Run) -> None:
    async def test(client: Client) -> None:
        url = f"{URL}/containers/web/wait?condition=next-exit"
        async with client.session.post(url) as response:
            assert response.status == 200
            (waiter,) = client.engine.containers.waiters
            waiter.outcome.set_result(WaitResult(status_code=7, error="oops"))
            assert await response.json() == {"StatusCode": 7, "Error": {"Message": "oops"}}
        assert waiter.closing.is_set()

    run(test)


def test_a_wait_ends_when_its_client_leaves(run: Run) -> None:
    async def test(client: Client) -> None:
        url = f"{URL}/containers/web/wait?condition=removed"
        response = await client.session.post(url)
        (waiter,) = client.engine.containers.waiters
        response.close()
        async with asyncio.timeout(5):
            await waiter.closing.wait()

    run(test)


def test_ps_shows_what_runs_and_filters_choose(run: Run) -> None:
    async def names(client: Client, query: str) -> list[str]:
        answer = await client.get(f"/containers/json?{query}")
        return [item["Names"][0] for item in answer.json]

    async def test(client: Client) -> None:
        for query, expected in {
            "": ["/web"],
            "all=1": ["/new", "/web", "/job"],
            "limit=1": ["/new"],
            'filters={"status":["exited"]}': ["/job"],
            'filters={"exited":{"3":true}}': ["/job"],
            'filters={"name":["^/we"]}': ["/web"],
            'all=1&filters={"label":["app=web"]}': ["/web", "/job"],
            'all=1&filters={"label":["app=db"]}': [],
            'all=1&filters={"before":["web"]}': ["/job"],
            'filters={"since":["web"]}': ["/new"],
            'all=1&filters={"volume":["/data"]}': ["/web"],
            'all=1&filters={"network":["bridge"]}': ["/new", "/web"],
            'all=1&filters={"network":["none"]}': ["/job"],
            'all=1&filters={"ancestor":["busybox"]}': ["/new", "/web", "/job"],
            'all=1&filters={"ancestor":["other"]}': [],
            'all=1&filters={"health":["healthy"]}': ["/web"],
            'all=1&filters={"publish":["8000-8100/tcp"]}': ["/web"],
            'all=1&filters={"expose":["81/udp"]}': ["/web"],
            'all=1&filters={"id":["bbb"]}': ["/job"],
            'all=1&filters={"is-task":["true"]}': [],
        }.items():
            assert await names(client, query) == expected, query

    run(test)


def test_ps_shows_ports_networks_and_health(run: Run) -> None:
    async def test(client: Client) -> None:
        (web,) = (await client.get("/containers/json?size=1")).json
        assert web["Ports"] == [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 81, "Type": "udp"},
        ]
        assert web["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
        assert web["Status"] == "Up 3 hours (healthy)"
        assert web["Health"] == {"Status": "healthy", "FailingStreak": 0}
        assert (web["SizeRw"], web["SizeRootFs"]) == (100, 1000)
        (old,) = (await client.get("/v1.41/containers/json")).json
        assert "Health" not in old
        assert "SizeRw" not in old

    run(test)


def test_inspect_shows_the_network_a_stopped_container_asked_for(run: Run) -> None:
    async def test(client: Client) -> None:
        web = (await client.get("/containers/web/json")).json
        assert web["NetworkSettings"]["Ports"] == {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
            "81/udp": None,
        }
        assert web["GraphDriver"]["Data"]["LowerDir"] == "/l/1:/l/0"
        assert web["HostConfig"]["CgroupnsMode"] == "host"
        assert web["ExecIDs"] == ["e" * 64]
        new = (await client.get(f"/containers/{NEW[:12]}/json")).json
        assert list(new["NetworkSettings"]["Networks"]) == ["bridge"]
        assert new["NetworkSettings"]["Networks"]["bridge"]["NetworkID"] == "f" * 64

    run(test)


def test_logs_are_framed_unless_there_is_a_terminal(run: Run) -> None:
    async def test(client: Client) -> None:
        answer = await client.get("/containers/web/logs?stdout=1&stderr=1&tail=5&since=1.5")
        assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
        assert answer.body == frame(1, b"out\n") + frame(2, b"err\n")
        query = LogQuery(stdout=True, stderr=True, tail=5, since_ns=1_500_000_000)
        assert client.engine.containers.calls == [("logs", query)]
        old = await client.get("/v1.41/containers/web/logs?stdout=1&tail=all")
        assert old.headers["Content-Type"] == "application/vnd.docker.raw-stream"

    run(test)


def test_stats_without_a_stream_of_what_does_not_run_are_empty(run: Run) -> None:
    async def test(client: Client) -> None:
        job = (await client.get("/containers/job/stats?stream=0")).json
        assert (job["id"], job["name"], job["os_type"]) == (JOB, "/job", "linux")
        assert job["memory_stats"] == {}
        web = (await client.get("/containers/web/stats?stream=0&one-shot=1")).json
        assert (web["id"], web["memory_stats"]["limit"]) == (WEB, 9)
        assert web["preread"] == "0001-01-01T00:00:00Z"

    run(test)


def test_a_websocket_carries_both_ways_without_frames(run: Run) -> None:
    class Shout:
        async def serve(self, sock: socket.socket, early: bytes, *, mux: bool) -> None:
            assert not mux
            loop = asyncio.get_running_loop()
            while data := await loop.sock_recv(sock, 100):
                await loop.sock_sendall(sock, data.upper())

    async def test(client: Client) -> None:
        async def attach(*_: object) -> Shout:
            return Shout()

        client.engine.containers.attach = attach  # type: ignore[method-assign, assignment]  # a fake of a fake
        url = f"{URL}/containers/web/attach/ws?stdin=1&stdout=1&stream=1"
        async with client.session.ws_connect(url) as ws:
            for send in (ws.send_bytes(b"abc"), ws.send_str("abc")):
                await send
                assert await ws.receive_bytes() == b"ABC"

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
            assert response.content_type == "application/jsonl"
            only = json.loads(await response.content.readline())
            assert (only["Type"], "status" in only) == ("network", False)

    run(test)


def test_a_path_in_a_container_is_told_in_a_header(run: Run) -> None:
    async def test(client: Client) -> None:
        head = await client.ask("HEAD", "/containers/web/archive?path=/etc")
        assert head.headers["X-Docker-Container-Path-Stat"]
        got = await client.get("/containers/web/archive?path=/etc")
        assert (got.headers["Content-Type"], got.body) == ("application/x-tar", b"tar")
        put = await client.ask("PUT", "/containers/web/archive?path=/", b"x" * 1_000_000)
        assert put.status == 200
        assert client.engine.containers.uploaded == b"x" * 1_000_000
        assert (await client.get("/containers/web/export")).body == b"tarball"
        assert (await client.get("/containers/web/changes")).json == [{"Path": "/a", "Kind": 1}]
        assert (await client.get("/containers/job/changes")).json is None

    run(test)


def test_execs_are_made_and_inspected(run: Run) -> None:
    async def test(client: Client) -> None:
        made = await client.ask("POST", "/containers/web/exec", {"Cmd": ["ls"], "Tty": True})
        assert (made.status, made.json) == (201, {"Id": "e" * 64})
        assert client.engine.execs.spec is not None
        assert client.engine.execs.spec.tty
        shown = (await client.get(f"/exec/{'e' * 64}/json")).json
        assert shown["ExitCode"] is None
        assert shown["ProcessConfig"]["arguments"] == ["-l"]
        empty = await client.ask("POST", "/containers/web/exec", {"Cmd": []})
        assert empty.json["message"] == "No exec command specified"

    run(test)


def test_images_are_listed_shown_and_named(run: Run) -> None:
    async def test(client: Client) -> None:
        first, _ = (await client.get("/images/json")).json
        assert (first["Id"], first["RepoTags"]) == (IMAGE, ["busybox:latest"])
        assert first["Containers"] == 3
        old = (await client.get("/v1.41/images/json")).json
        assert (old[1]["RepoTags"], old[0]["VirtualSize"]) == (["<none>:<none>"], 1234)
        named = 'filters={"reference":["busy*"]}'
        assert len((await client.get(f"/images/json?{named}")).json) == 1
        dangling = 'filters={"dangling":["true"]}'
        assert len((await client.get(f"/images/json?{dangling}")).json) == 1
        assert (await client.get("/images/busybox/history")).json[0]["Tags"] is None
        tagged = await client.ask("POST", "/images/busybox/tag?repo=a/b&tag=c")
        assert tagged.status == 201
        assert client.engine.images.tagged == [("busybox", "a/b:c")]
        removed = (await client.ask("DELETE", "/images/busybox")).json
        assert removed == [{"Untagged": "busybox:latest"}, {"Deleted": IMAGE}]
        saved = await client.get("/images/get?names=busybox&names=busybox:latest")
        assert saved.body == b"busybox,busybox:latest"
        loaded = await client.ask("POST", "/images/load", b"12345")
        assert json.loads(loaded.body) == {"stream": "Loaded 5\n"}

    run(test)


def test_a_pull_streams_its_steps_and_fails_in_two_ways(run: Run) -> None:
    async def test(client: Client) -> None:
        good = await client.ask("POST", "/images/create?fromImage=busybox&tag=1")
        lines = good.body.split(b"\r\n")
        assert json.loads(lines[0])["status"] == "Pulling from busybox:1"
        assert good.headers["Transfer-Encoding"] == "chunked"
        before = await client.ask("POST", "/images/create?fromImage=nope&tag=1")
        assert before.status == 404
        after = await client.ask("POST", "/images/create?fromImage=breaks&tag=1")
        assert after.status == 200
        last = json.loads(after.body.split(b"\r\n")[-2])
        assert last["errorDetail"] == {"message": "gone in the middle"}

    run(test)


def test_networks_show_their_containers_only_when_inspected(run: Run) -> None:
    async def test(client: Client) -> None:
        listed = (await client.get('/networks?filters={"name":["bri"]}')).json
        assert [item["Name"] for item in listed] == ["bridge"]
        assert "Containers" not in listed[0]
        bridge = (await client.get("/networks/bridge")).json
        assert bridge["Containers"][WEB]["IPv4Address"] == "172.17.0.2/16"
        assert bridge["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
        custom = (await client.get('/networks?filters={"type":["custom"]}')).json
        assert [item["Name"] for item in custom] == ["own"]
        config = {"Config": [{"Subnet": "10.1.0.0/16"}]}
        made = await client.ask("POST", "/networks/create", {"Name": "n", "IPAM": config})
        assert (made.status, made.json) == (201, {"Id": "7" * 64, "Warning": ""})
        assert client.engine.networks.created is not None
        assert client.engine.networks.created.chosen_subnet
        endpoint = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.1.0.9"}}
        body = {"Container": "web", "EndpointConfig": endpoint}
        assert (await client.ask("POST", "/networks/own/connect", body)).status == 200
        spec = EndpointSpec(ipv4="10.1.0.9", aliases=("db",))
        assert client.engine.containers.calls == [("connect", "own", "web", spec)]
        pruned = await client.ask("POST", '/networks/prune?filters={"label":["x=y"]}')
        assert pruned.json == {"NetworksDeleted": ["own"]}

    run(test)


def test_volumes_are_listed_made_and_pruned(run: Run) -> None:
    async def test(client: Client) -> None:
        dangling = (await client.get('/volumes?filters={"dangling":["true"]}')).json
        assert [item["Name"] for item in dangling["Volumes"]] == ["loose"]
        data = (await client.get("/volumes/data")).json
        assert (data["CreatedAt"], data["Scope"]) == ("2023-11-14T22:13:20Z", "local")
        made = await client.ask("POST", "/volumes/create", {"Name": "n"})
        assert (made.status, made.json["Name"]) == (201, "n")
        for query, deleted in (("", []), ('?filters={"all":["1"]}', ["loose"])):
            pruned = await client.ask("POST", f"/volumes/prune{query}")
            assert pruned.json["VolumesDeleted"] == deleted
        old = await client.ask("POST", "/v1.41/volumes/prune")
        assert old.json["VolumesDeleted"] == ["loose"]

    run(test)


def test_what_is_removed_while_sizes_are_counted_is_left_out(run: Run) -> None:
    async def test(client: Client) -> None:
        job = next(record for record in client.engine.containers.records if record.name == "job")
        client.engine.containers.vanished.add(job.id)
        client.engine.volumes.vanished.add("loose")
        shown = (await client.get("/containers/json?all=1&size=1")).json
        assert [row["Names"] for row in shown] == [["/new"], ["/web"]]
        usage = (await client.get("/system/df")).json
        assert [row["Names"] for row in usage["Containers"]] == [["/new"], ["/web"]]
        assert [row["Name"] for row in usage["Volumes"]] == ["data"]

    run(test)


def test_disk_usage_comes_in_both_forms(run: Run) -> None:
    async def test(client: Client) -> None:
        old = (await client.get("/v1.51/system/df")).json
        assert set(old) == {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
        assert old["Volumes"][0]["UsageData"] == {"Size": 11, "RefCount": 1}
        both = (await client.get("/v1.52/system/df")).json
        assert both["ContainerUsage"] == {
            "ActiveCount": 1, "TotalCount": 3, "Reclaimable": 200, "TotalSize": 300,
        }  # fmt: skip
        assert "Containers" in both
        assert both["ImageUsage"] == {
            "ActiveCount": 1, "TotalCount": 2, "Reclaimable": 0, "TotalSize": 1234,
        }  # fmt: skip
        verbose = (await client.get("/system/df?verbose=1&type=volume")).json
        assert set(verbose) == {"VolumeUsage"}
        assert len(verbose["VolumeUsage"]["Items"]) == 2

    run(test)


def test_version_and_info_tell_about_the_engine(run: Run) -> None:
    async def test(client: Client) -> None:
        version = (await client.get("/version")).json
        assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.56", "1.24")
        info = (await client.get("/info")).json
        assert (info["Containers"], info["ContainersRunning"]) == (3, 1)
        assert info["Swarm"]["LocalNodeState"] == "inactive"
        assert info["Runtimes"] == {"crun": {"path": "/usr/bin/crun"}}

    run(test)
