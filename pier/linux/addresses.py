"""Servers' names in mount options become addresses, for the kernel looks no names up. nfs(5)."""

import re
import socket

_ADDRESS = re.compile(r"(?<![^,])addr=([^,]+)")


def resolve_addresses(options: str) -> str:
    """`addr=` of a network file system as a number: the kernel looks no names up. Blocks."""

    def number(match: re.Match[str]) -> str:
        found = socket.getaddrinfo(match[1], None, type=socket.SOCK_STREAM)
        return f"addr={found[0][4][0]}"

    return _ADDRESS.sub(number, options)
