"""The routes of containers and execs, through a real server and a plain HTTP client."""

import asyncio
import socket

from pier.api.streams import frame
from pier.containers.requests import LogQuery, WaitResult
from pier.containers.spec import RestartPolicy
from tests.unit.api_client import URL, Client, Run
from tests.unit.fake_containers import JOB, NEW, WEB


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
        assert new["NetworkSettings"]["Networks"]["bridge"]["NetworkID"] == ""

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
        assert (job["id"], job["name"]) == (JOB, "/job")
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
