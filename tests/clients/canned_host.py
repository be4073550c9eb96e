"""What a daemon that has seen some life says of itself, of its disk, and in its streams."""

from tests.clients.canned_objects import CONTAINERS, IMAGE_ID, IMAGES, VOLUMES, Json
from tests.clients.recording_daemon import CONTAINER_ID

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
