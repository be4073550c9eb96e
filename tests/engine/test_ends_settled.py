"""Whoever has read the last of a container's output finds it ended."""

import http.client
import json
import socket

from tests.daemon import Daemon


def read_to_the_end(daemon: Daemon, container_id: str) -> bytes:
    """Attach, start, and read until the daemon hangs up."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(daemon.socket))
        path = f"/containers/{container_id}/attach?stream=1&stdout=1&stderr=1"
        head = f"POST {path} HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"
        sock.sendall(head.encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == 101
        assert daemon.api("POST", f"/containers/{container_id}/start")[0] == 204
        return b"".join(iter(lambda: answer.fp.read(4096), b""))


def test_the_code_is_there_and_the_networks_are_left_when_the_output_has_ended(
    daemon: Daemon,
) -> None:
    daemon.docker("network", "create", "one")
    daemon.docker("network", "create", "two")
    for code in range(1, 9):
        command = ["sh", "-c", f"echo spoken; exit {code}"]
        networks: dict[str, object] = {"EndpointsConfig": {"one": {}, "two": {}}}
        body = {"Image": "busybox", "Cmd": command, "NetworkingConfig": networks}
        made = daemon.api("POST", "/containers/create", body)[1]["Id"]
        assert b"spoken" in read_to_the_end(daemon, made)
        state = daemon.api("GET", f"/containers/{made}/json")[1]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", code), json.dumps(state)
        assert read_to_the_end(daemon, made)  # started again at once
        assert daemon.api("DELETE", f"/containers/{made}")[0] == 204
    daemon.docker("network", "rm", "one", "two")
