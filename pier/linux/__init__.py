"""The kernel's interface as small functions. Knows nothing of Pier.

syscalls    calls Python lacks, one function each, errno as OSError; ctypes stays in this package
privileges  capabilities, seccomp filters, limits and keyrings of the calling process
libseccomp  compiling a seccomp profile (dlopened where it is needed)
memory      the C library's heap
mount       overlay and bind mounts by file descriptor (fsopen, open_tree, move_mount)
mounting    one mount as mount(8) is asked for it: a type, a device, a text of options
paths       opening paths inside a container's root without ever leaving it (openat2)
netns       entering network namespaces from a short thread
netlink     links, addresses and routes, by raw rtnetlink messages
nftables    one transaction at a time through a kept `nft` child
cgroup      where the controllers are mounted, v1, v2 or both; reading and removing groups
process     running a program and reading its answer without blocking the event loop
"""
