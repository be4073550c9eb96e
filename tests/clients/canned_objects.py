"""Containers, images, networks and volumes of a daemon that has seen some life."""

import time
from typing import Any

from tests.clients.recording_daemon import CONTAINER_ID

Json = dict[str, Any]
NOW_S = int(time.time())
IMAGE_ID = "sha256:" + "cd" * 32
NETWORK_ID = "ef" * 32
CONTAINERS: list[Json] = [
    {
        "Id": "ab" * 32,
        "Names": ["/web", "/other/alias"],
        "Image": "nginx:latest",
        "ImageID": IMAGE_ID,
        "Command": "/docker-entrypoint.sh nginx -g 'daemon off;'",
        "Created": NOW_S - 300,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 90, "PublicPort": 90, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 91, "PublicPort": 91, "Type": "tcp"},
            {"PrivatePort": 444, "Type": "tcp"},
            {"PrivatePort": 53, "Type": "udp"},
        ],
        "Labels": {"a": "<b>"},
        "State": "running",
        "Status": "Up 5 minutes (healthy)",
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [
            {"Type": "volume", "Name": "e" * 64, "Driver": "local", "Source": "/x"},
            {"Type": "bind", "Source": "/very/long/path/to/something"},
        ],
        "SizeRw": 12345,
        "SizeRootFs": 123456789,
    },
    {
        "Id": "12" * 32,
        "Names": ["/db"],
        "Image": IMAGE_ID,
        "ImageID": IMAGE_ID,
        "Command": 'sh -c "a b"',
        "Created": NOW_S - 90000,
        "Ports": [],
        "Labels": {},
        "State": "exited",
        "Status": "Exited (0) 2 hours ago",
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [],
    },
    {
        "Id": "13" * 32,
        "Names": ["/pinned"],
        "Image": "redis:7@sha256:" + "99" * 32,
        "ImageID": IMAGE_ID,
        "Command": "sh",
        "Created": NOW_S - 9000000,
        "Ports": None,
        "Labels": None,
        "State": "created",
        "Status": "Created",
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": None,
    },
]
IMAGES: list[Json] = [
    {
        "Id": IMAGE_ID,
        "ParentId": "",
        "RepoTags": ["nginx:latest", "registry.test:5000/a/nginx:1"],
        "RepoDigests": ["nginx@sha256:" + "77" * 32],
        "Created": NOW_S - 86400 * 3,
        "Size": 187654321,
        "SharedSize": -1,
        "Labels": {"a": "b"},
        "Containers": -1,
    },
    {
        "Id": "sha256:" + "aa" * 32,
        "ParentId": "",
        "RepoTags": [],
        "RepoDigests": ["busybox@sha256:" + "66" * 32],
        "Created": NOW_S - 86400 * 400,
        "Size": 999,
        "SharedSize": 10,
        "Labels": None,
        "Containers": 2,
    },
    {
        "Id": "sha256:" + "bb" * 32,
        "ParentId": "",
        "RepoTags": None,
        "RepoDigests": None,
        "Created": NOW_S - 200000,
        "Size": 1000,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    },
]
HISTORY = [
    {
        "Id": IMAGE_ID,
        "Created": NOW_S - 1000000,
        "CreatedBy": '/bin/sh -c #(nop)  CMD ["sh"] with a rather long tail that is cut',
        "Tags": ["nginx:latest"],
        "Size": 0,
        "Comment": "buildkit",
    },
    {
        "Id": "<missing>",
        "Created": NOW_S - 1300000,
        "CreatedBy": "ADD\tfile",
        "Tags": None,
        "Size": 4261551,
        "Comment": "",
    },
]
NETWORKS: list[Json] = [
    {
        "Name": "net10",
        "Id": NETWORK_ID,
        "Created": "2024-05-01T10:11:12.123456789Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Internal": False,
        "Labels": {"a": "b"},
    },
    {
        "Name": "net2",
        "Id": "ee" * 32,
        "Created": "2024-05-01T10:11:12Z",
        "Scope": "local",
        "Driver": "host",
        "EnableIPv4": True,
        "EnableIPv6": True,
        "Internal": True,
        "Labels": {},
    },
]
VOLUMES: Json = {
    "Volumes": [
        {
            "CreatedAt": "2024-05-01T10:11:12Z",
            "Driver": "local",
            "Labels": {"a": "b"},
            "Mountpoint": "/var/lib/x",
            "Name": "v10",
            "Options": None,
            "Scope": "local",
        },
        {"Driver": "local", "Labels": None, "Mountpoint": "/y", "Name": "v9", "Scope": "local"},
    ],
    "Warnings": None,
}
INSPECTED: Json = {
    "Id": CONTAINER_ID,
    "Created": "2024-05-01T10:11:12.123456789Z",
    "Path": "sh",
    "Args": [],
    "State": {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "ExitCode": 0,
        "StartedAt": "2024-05-01T10:11:12Z",
        "Health": {"Status": "healthy", "FailingStreak": 0, "Log": []},
    },
    "Name": "/web",
    "HostConfig": {"Binds": None, "Memory": 0, "NanoCpus": 1500000000, "AutoRemove": False},
    "Mounts": [],
    "Config": {
        "Hostname": "x",
        "Tty": False,
        "OpenStdin": True,
        "Env": ["A=<b>&", "PATH=/bin"],
        "Labels": {"z": "1", "a": "2"},
        "ExposedPorts": {"80/tcp": {}},
    },
    "NetworkSettings": {
        "Ports": {
            "80/tcp": [
                {"HostIp": "0.0.0.0", "HostPort": "8080"},
                {"HostIp": "::", "HostPort": "8080"},
            ],
            "443/tcp": None,
            "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
        },
        "Networks": {"bridge": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1"}},
    },
}
