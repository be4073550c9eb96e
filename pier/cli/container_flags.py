"""The hundred flags of `run` and `create`. Docker run reference."""

from __future__ import annotations

from pier.cli.command import Flag
from pier.cli.values.attachments import check_network
from pier.cli.values.devices import (
    check_bps,
    check_cgroup_rule,
    check_gpus,
    check_iops,
    check_weight,
)
from pier.cli.values.mounts import check_mount
from pier.cli.values.policies import (
    check_add_host,
    check_dns,
    check_dns_search,
    check_link,
    check_stream,
    check_sysctl,
    check_ulimit,
)
from pier.cli.values.variables import check_env, check_label

IDENTITY = (
    Flag("name", "string", "Name of the container"),
    Flag("hostname,h", "string", "Host name inside the container"),
    Flag("domainname", "string", "NIS domain name inside the container"),
    Flag("label,l", "list", "Set a label", check=check_label),
    Flag("label-file", "list", "Read labels from a file, one a line"),
    Flag("annotation", "map", "Set an annotation, which is handed on to the OCI runtime"),
    Flag("cidfile", "string", "Write the container's ID to this file"),
)
PROCESS = (
    Flag("attach,a", "list", "Attach to stdin, stdout or stderr", check=check_stream),
    Flag("entrypoint", "string", "Replace the image's entrypoint"),
    Flag("env,e", "list", "Set an environment variable", check=check_env),
    Flag("env-file", "list", "Read environment variables from a file"),
    Flag("init", "bool", "Run an init that forwards signals and reaps processes"),
    Flag("interactive,i", "bool", "Keep stdin open, attached or not"),
    Flag("stop-signal", "string", "Signal that stops the container"),
    Flag("stop-timeout", "int", "Seconds that stopping may take before the container is killed"),
    Flag("tty,t", "bool", "Give it a terminal"),
    Flag("user,u", "string", "User, and group, as <name|uid>[:<group|gid>]"),
    Flag("workdir,w", "string", "Working directory inside the container"),
)
IMAGE = (
    Flag("platform", "string", "Platform of the image, where there are several"),
    Flag("pull", "string", 'When to pull: "always", "missing" or "never"', "missing"),
    Flag("quiet,q", "bool", "Pull without saying so"),
    Flag("disable-content-trust", "bool", "Accepted for Docker's sake; does nothing", True),
)
NETWORK = (
    Flag("network", "network", "Join this network", check=check_network),
    Flag("net", "network", "The same as --network", check=check_network, hidden=True),
    Flag("network-alias", "list", "Another name on the network"),
    Flag("net-alias", "list", "The same as --network-alias", hidden=True),
    Flag("ip", "string", "IPv4 address, such as 172.30.100.104"),
    Flag("ip6", "string", "IPv6 address, such as 2001:db8::33"),
    Flag("link-local-ip", "list", "Link-local address"),
    Flag("mac-address", "string", "MAC address, such as 92:d0:c6:0a:29:33"),
    Flag("link", "list", "Link to another container", check=check_link),
    Flag("publish,p", "list", "Publish a port, or a range, on the host"),
    Flag("publish-all,P", "bool", "Publish every exposed port on a port of the host's choice"),
    Flag("expose", "list", "Expose a port or a range of ports"),
    Flag("dns", "list", "Use this DNS server", check=check_dns),
    Flag("dns-option", "list", "Set an option of resolv.conf"),
    Flag("dns-opt", "list", "The same as --dns-option", hidden=True),
    Flag("dns-search", "list", "Search this domain", check=check_dns_search),
    Flag("add-host", "list", "Add a line host:ip to /etc/hosts", check=check_add_host),
)
STORAGE = (
    Flag("volume,v", "list", "Mount a directory of the host, or a volume"),
    Flag("volume-driver", "string", "Driver of the volumes that -v makes"),
    Flag("volumes-from", "list", "Mount what another container has mounted"),
    Flag("mount", "mount", "Mount a file system", check=check_mount),
    Flag("tmpfs", "list", "Mount a tmpfs"),
    Flag("read-only", "bool", "Make the root file system read-only"),
    Flag("storage-opt", "list", "Set an option of the storage driver"),
    Flag("shm-size", "bytes", "Size of /dev/shm"),
)
LIMITS = (
    Flag("memory,m", "bytes", "Limit of memory"),
    Flag("memory-swap", "swap", "Limit of memory and swap together, -1 for no limit of swap"),
    Flag("memory-reservation", "bytes", "Soft limit of memory"),
    Flag("memory-swappiness", "int", "How readily it is swapped out (0 to 100)", -1),
    Flag("kernel-memory", "bytes", "Limit of kernel memory", hidden=True),
    Flag("oom-kill-disable", "bool", "Do not kill it when memory runs out"),
    Flag("oom-score-adj", "int", "Preference of the OOM killer (-1000 to 1000)"),
    Flag("cpus", "decimal", "Number of CPUs"),
    Flag("cpu-shares,c", "int", "Relative weight for the CPU"),
    Flag("cpu-period", "int", "Period of the CFS quota in microseconds"),
    Flag("cpu-quota", "int", "CFS quota in microseconds"),
    Flag("cpu-rt-period", "int", "Period of the real-time quota in microseconds"),
    Flag("cpu-rt-runtime", "int", "Real-time quota in microseconds"),
    Flag("cpuset-cpus", "string", "CPUs it may run on (0-3, 0,1)"),
    Flag("cpuset-mems", "string", "Memory nodes it may use (0-3, 0,1)"),
    Flag("pids-limit", "int", "Limit of processes, -1 for none"),
    Flag("ulimit", "ulimit", "Set a resource limit", check=check_ulimit),
    Flag("blkio-weight", "uint16", "Relative weight for block devices, 10 to 1000, 0 for none"),
    Flag("blkio-weight-device", "list", "Relative weight for one device", check=check_weight),
    Flag("device-read-bps", "list", "Limit of bytes read a second", check=check_bps),
    Flag("device-write-bps", "list", "Limit of bytes written a second", check=check_bps),
    Flag("device-read-iops", "list", "Limit of reads a second", check=check_iops),
    Flag("device-write-iops", "list", "Limit of writes a second", check=check_iops),
    Flag("cgroup-parent", "string", "Parent cgroup"),
)
DEVICES = (
    Flag("device", "list", "Add a device of the host"),
    Flag("device-cgroup-rule", "list", "Allow devices by a rule", check=check_cgroup_rule),
    Flag("gpus", "gpu-request", "Add GPUs ('all' for all of them)", check=check_gpus),
)
SECURITY = (
    Flag("privileged", "bool", "Give it nearly every right of the host's root"),
    Flag("cap-add", "list", "Add a Linux capability"),
    Flag("cap-drop", "list", "Drop a Linux capability"),
    Flag("security-opt", "list", "Set a security option"),
    Flag("userns", "string", "User namespace"),
    Flag("group-add", "list", "Add a supplementary group"),
    Flag("use-api-socket", "bool", "Mount the daemon's socket", hidden=True),
)
NAMESPACES = (
    Flag("ipc", "string", "IPC namespace"),
    Flag("pid", "string", "PID namespace"),
    Flag("uts", "string", "UTS namespace"),
    Flag("cgroupns", "string", "Cgroup namespace (host|private)"),
)
HEALTH = (
    Flag("health-cmd", "string", "Command that tells whether it is well"),
    Flag("health-interval", "duration", "Time between checks (ms|s|m|h)"),
    Flag("health-timeout", "duration", "Longest time one check may take (ms|s|m|h)"),
    Flag("health-retries", "int", "Failures in a row that make it unhealthy"),
    Flag("health-start-period", "duration", "Time to start up in, when failures do not count"),
    Flag("health-start-interval", "duration", "Time between checks while it starts up"),
    Flag("no-healthcheck", "bool", "Ignore the image's health check"),
)
OTHER = (
    Flag("restart", "string", "When to restart it", "no"),
    Flag("rm", "bool", "Remove it, and its anonymous volumes, when it has exited"),
    Flag("runtime", "string", "OCI runtime"),
    Flag("log-driver", "string", "Driver of its logs"),
    Flag("log-opt", "list", "Set an option of the log driver"),
    Flag("sysctl", "map", "Set a kernel parameter", check=check_sysctl),
    Flag("isolation", "string", "Isolation technology"),
    Flag("cpu-count", "int", "Windows only", hidden=True),
    Flag("cpu-percent", "int", "Windows only", hidden=True),
    Flag("io-maxbandwidth", "bytes", "Windows only", hidden=True),
    Flag("io-maxiops", "uint", "Windows only", hidden=True),
)
CREATE_FLAGS = (
    IDENTITY + PROCESS + IMAGE + NETWORK + STORAGE + LIMITS + DEVICES + SECURITY
    + NAMESPACES + HEALTH + OTHER
)  # fmt: skip
RUN_FLAGS = (
    *CREATE_FLAGS,
    Flag("detach,d", "bool", "Run in the background and print the ID"),
    Flag("sig-proxy", "bool", "Pass received signals on to the process", True),
    Flag("detach-keys", "string", "Keys that detach from the container"),
)
WINDOWS_ONLY = ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
