"""Answers of a daemon that has seen some life: for comparing what clients make of them."""

import time
from typing import Any

from tests.clients.recording_daemon import CONTAINER_ID, Answers, Status, frame

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
EVENTS = (
    b'{"status":"start","id":"abc","from":"nginx","Type":"container","Action":"start","Actor":'
    b'{"ID":"abc","Attributes":{"name":"web","image":"nginx"}},"scope":"local",'
    b'"time":1714558272,"timeNano":1714558272123456789}\n'
    b'{"Type":"network","Action":"prune","Actor":{"ID":"","Attributes":{}},"scope":"local",'
    b'"time":1714558272,"timeNano":1714558272000000000}\n'
)
DISK: Json = {
    "LayersSize": 1092588,
    "Images": [
        {**IMAGES[0], "SharedSize": 500, "Containers": 1},
        {**IMAGES[1], "SharedSize": 0, "Containers": 0},
    ],
    "Containers": [
        {**CONTAINERS[0], "SizeRw": 12345, "SizeRootFs": 123456789},
        {**CONTAINERS[1], "SizeRw": 100, "SizeRootFs": 200},
    ],
    "Volumes": [
        {**VOLUMES["Volumes"][0], "UsageData": {"RefCount": 1, "Size": 1000}},
        {**VOLUMES["Volumes"][1], "UsageData": {"RefCount": 0, "Size": 30000}},
    ],
    "BuildCache": [
        {
            "ID": "hw53o5aio51xtltp5xjp8v7fx",
            "Parents": None,
            "Type": "regular",
            "Description": "pulled",
            "InUse": False,
            "Shared": True,
            "Size": 0,
            "CreatedAt": "2021-06-28T13:31:01.474619385Z",
            "LastUsedAt": "2021-07-07T22:02:32.738075951Z",
            "UsageCount": 26,
        },
        {
            "ID": "ndlpt0hhvkqcdfkputsk4cq9c",
            "Parents": ["hw53o5aio51xtltp5xjp8v7fx"],
            "Type": "source.local",
            "Description": "mount / from exec",
            "InUse": True,
            "Shared": False,
            "Size": 51,
            "CreatedAt": "2021-06-28T13:31:03.002625487Z",
            "LastUsedAt": None,
            "UsageCount": 1,
        },
    ],
}
STATS: Json = {
    "id": CONTAINER_ID,
    "name": "/web",
    "os_type": "linux",
    "read": "2024-05-01T10:11:13Z",
    "preread": "2024-05-01T10:11:12Z",
    "pids_stats": {"current": 7, "limit": 100},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 4096},
            {"major": 8, "minor": 0, "op": "Write", "value": 1234567},
        ]
    },
    "num_procs": 0,
    "storage_stats": {},
    "cpu_stats": {
        "cpu_usage": {"total_usage": 5_000_000_000, "usage_in_kernelmode": 1},
        "system_cpu_usage": 100_000_000_000,
        "online_cpus": 4,
        "throttling_data": {},
    },
    "precpu_stats": {
        "cpu_usage": {"total_usage": 4_000_000_000},
        "system_cpu_usage": 90_000_000_000,
        "online_cpus": 4,
    },
    "memory_stats": {
        "usage": 50_000_000,
        "stats": {"inactive_file": 1_000_000},
        "limit": 2_000_000_000,
    },
    "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 2_500_000}},
}
INFO: Json = {
    "ID": "f0f0-1",
    "Containers": 3,
    "ContainersRunning": 1,
    "ContainersPaused": 0,
    "ContainersStopped": 2,
    "Images": 3,
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
    "Plugins": {
        "Volume": ["local"],
        "Network": ["bridge", "host", "none"],
        "Authorization": None,
        "Log": ["json-file", "local"],
    },
    "MemoryLimit": True,
    "SwapLimit": False,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUShares": True,
    "CPUSet": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "Debug": True,
    "NFd": 20,
    "OomKillDisable": True,
    "NGoroutines": 30,
    "SystemTime": "2024-05-01T10:11:12Z",
    "LoggingDriver": "json-file",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "NEventsListener": 0,
    "KernelVersion": "6.1.0",
    "OperatingSystem": "Debian 12",
    "OSVersion": "12",
    "OSType": "linux",
    "Architecture": "x86_64",
    "IndexServerAddress": "https://index.docker.io/v1/",
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {
            "docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True},
            "a.test": {"Name": "a.test", "Mirrors": [], "Secure": False, "Official": False},
        },
        "Mirrors": ["https://mirror.test/"],
    },
    "NCPU": 4,
    "MemTotal": 8_000_000_000,
    "GenericResources": None,
    "DockerRootDir": "/var/lib/docker",
    "HttpProxy": "http://proxy.test:3128",
    "HttpsProxy": "",
    "NoProxy": "",
    "Name": "host",
    "Labels": ["a=b"],
    "ExperimentalBuild": False,
    "ServerVersion": "28.2.2",
    "Runtimes": {"runc": {"path": "runc"}, "crun": {"path": "crun"}},
    "DefaultRuntime": "runc",
    "Swarm": {"NodeID": "", "LocalNodeState": "inactive"},
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "InitBinary": "docker-init",
    "ContainerdCommit": {"ID": "c1"},
    "RuncCommit": {"ID": "r1"},
    "InitCommit": {"ID": "i1"},
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "DefaultAddressPools": [{"Base": "10.0.0.0/8", "Size": 24}],
    "FirewallBackend": {"Driver": "iptables"},
    "CDISpecDirs": ["/etc/cdi"],
    "Warnings": ["WARNING: No swap limit support"],
}
VERSION: Json = {
    "Platform": {"Name": "Docker Engine - Community"},
    "Components": [
        {
            "Name": "Engine",
            "Version": "28.2.2",
            "Details": {
                "ApiVersion": "1.50",
                "Arch": "amd64",
                "BuildTime": "2025-05-30T12:07:27.000000000+00:00",
                "Experimental": "false",
                "GitCommit": "45873be",
                "GoVersion": "go1.24.3",
                "KernelVersion": "6.1.0",
                "MinAPIVersion": "1.24",
                "Os": "linux",
            },
        },
        {"Name": "containerd", "Version": "1.7.27", "Details": {"GitCommit": "05044ec"}},
    ],
    "Version": "28.2.2",
    "ApiVersion": "1.50",
    "MinAPIVersion": "1.24",
    "GitCommit": "45873be",
    "GoVersion": "go1.24.3",
    "Os": "linux",
    "Arch": "amd64",
    "KernelVersion": "6.1.0",
    "BuildTime": "2025-05-30T12:07:27.000000000+00:00",
}
BUILD_LOG = (
    b'{"stream":"Step 1/1 : FROM busybox"}\r\n{"stream":"\\n"}\r\n'
    b'{"stream":" ---\\u003e 0102\\n"}\r\n{"aux":{"ID":"' + IMAGE_ID.encode() + b'"}}\r\n'
    b'{"stream":"Successfully built 0102\\n"}\r\n'
)
PULL_LOG = (
    b'{"status":"Pulling from library/busybox","id":"latest"}\r\n'
    b'{"status":"Pulling fs layer","progressDetail":{},"id":"a1"}\r\n'
    b'{"status":"Downloading","progressDetail":{"current":1,"total":2},"progress":"[=>]","id":"a1"}\r\n'
    b'{"status":"Pull complete","progressDetail":{},"id":"a1"}\r\n'
    b'{"status":"Digest: sha256:77"}\r\n{"status":"Status: Downloaded newer image"}\r\n'
)
ANSWERS: Answers = {
    ("GET", "/containers/json"): CONTAINERS,
    ("GET", "/images/json"): IMAGES,
    ("GET", "/images/nginx/history"): HISTORY,
    ("GET", "/networks"): NETWORKS,
    ("GET", "/volumes"): VOLUMES,
    ("GET", "/containers/web/json"): INSPECTED,
    ("GET", f"/containers/{CONTAINER_ID}/json"): INSPECTED,
    ("GET", "/images/nginx/json"): {"Id": IMAGE_ID, "RepoTags": ["nginx:latest"], "Size": 5},
    ("GET", "/networks/net10"): {**NETWORKS[0], "Containers": {}},
    ("GET", "/volumes/v10"): VOLUMES["Volumes"][0],
    ("GET", "/events"): Status(200, EVENTS),
    ("GET", "/system/df"): DISK,
    ("GET", "/containers/web/stats"): STATS,
    ("GET", "/info"): INFO,
    ("GET", "/version"): VERSION,
    ("GET", "/containers/web/top"): {
        "Titles": ["UID", "PID", "CMD"],
        "Processes": [["root", "1", "sh"], ["a-very-long-user-name", "12345", "sleep 1"]],
    },
    ("GET", "/containers/web/changes"): [
        {"Path": "/etc", "Kind": 0},
        {"Path": "/etc/a", "Kind": 1},
        {"Path": "/b", "Kind": 2},
    ],
    ("GET", f"/containers/{CONTAINER_ID}/logs"): Status(
        200, frame(1, b"out\n") + frame(2, b"err\n")
    ),
    ("GET", "/containers/web/logs"): Status(200, frame(1, b"out\n") + frame(2, b"err\n")),
    ("POST", "/containers/web/stop"): Status(204),
    ("POST", "/containers/web/restart"): Status(204),
    ("POST", "/containers/web/kill"): Status(204),
    ("POST", "/containers/web/start"): Status(204),
    ("POST", "/containers/web/pause"): Status(204),
    ("POST", "/containers/web/unpause"): Status(204),
    ("POST", "/containers/web/rename"): Status(204),
    ("POST", "/containers/web/wait"): {"StatusCode": 7},
    ("DELETE", "/containers/web"): Status(204),
    ("POST", "/containers/web/update"): {"Warnings": ["careful"]},
    ("POST", "/containers/web/exec"): Status(201, {"Id": "ex"}),
    ("POST", "/exec/ex/start"): Status(101, stream=frame(1, b"hi\n")),
    ("GET", "/exec/ex/json"): {"ID": "ex", "Running": False, "ExitCode": 3},
    ("POST", "/commit"): Status(201, {"Id": IMAGE_ID}),
    ("POST", "/images/nginx/tag"): Status(201),
    ("DELETE", "/images/nginx"): [{"Untagged": "nginx:latest"}, {"Deleted": IMAGE_ID}],
    ("POST", "/networks/create"): Status(201, {"Id": NETWORK_ID, "Warning": ""}),
    ("POST", "/networks/net10/connect"): Status(200),
    ("POST", "/networks/net10/disconnect"): Status(200),
    ("DELETE", "/networks/net10"): Status(204),
    ("POST", "/volumes/create"): Status(201, VOLUMES["Volumes"][0]),
    ("DELETE", "/volumes/v10"): Status(204),
    ("POST", "/images/create"): Status(200, PULL_LOG),
    ("POST", "/images/docker.io/library/busybox/push"): Status(200, PULL_LOG),
    ("POST", "/images/load"): Status(
        200,
        b'{"stream":"Loaded image: a:1\\n"}\r\n',
        {"Content-Type": "application/json"},
    ),
    ("GET", "/images/get"): Status(200, b"tar"),
    ("GET", "/containers/web/export"): Status(200, b"tar"),
    ("POST", "/build"): Status(200, BUILD_LOG),
    ("POST", "/containers/prune"): {"ContainersDeleted": ["c1", "c2"], "SpaceReclaimed": 1234},
    ("POST", "/images/prune"): {
        "ImagesDeleted": [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}],
        "SpaceReclaimed": 5000,
    },
    ("POST", "/volumes/prune"): {"VolumesDeleted": ["v1"], "SpaceReclaimed": 0},
    ("POST", "/networks/prune"): {"NetworksDeleted": ["n1"]},
    ("POST", "/build/prune"): {"CachesDeleted": ["b1"], "SpaceReclaimed": 99},
    ("GET", "/images/search"): [
        {"name": "a", "description": "d" * 60, "star_count": 1, "is_official": False},
        {"name": "b", "description": "x\ny", "star_count": 5, "is_official": True},
    ],
    ("POST", "/auth"): {"Status": "Login Succeeded", "IdentityToken": ""},
}
