"""Flows the kernel remembers, and forgetting those that lead to nobody. ctnetlink.

A translation is decided at a flow's first packet and holds as long as packets come. A UDP client
that goes on sending from one port would thus reach the container that is gone, or the host from
before the port was published, for ever. TCP notices by itself.
include/uapi/linux/netfilter/nfnetlink_conntrack.h
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pier.linux.netlink import attribute, parse_attributes

NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK; IPCTNL_MSG_CT_GET, _DELETE
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2, 1, 2
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
NLA_F_NESTED = 0x8000
_SOURCE: Mapping[int, int] = {socket.AF_INET: 1, socket.AF_INET6: 3}
_DESTINATION: Mapping[int, int] = {socket.AF_INET: 2, socket.AF_INET6: 4}


@dataclass(frozen=True, slots=True)
class _Tuple:
    protocol: int
    source: bytes
    destination: bytes
    port: int
    """The destination's."""


@dataclass(frozen=True, slots=True)
class _Flow:
    family: int
    original: bytes
    """The tuple of its first packet, as the kernel wrote it."""


def forget_udp(*, host_ports: Collection[int], addresses: Collection[bytes]) -> int:
    """Forget UDP flows to `host_ports` that are translated to one of `addresses`, or not at all.

    addresses are packed. How many it were. Acts in the namespace of the calling thread; reads
    everything the kernel remembers, so it is for a thread, and for when there are such ports.
    """
    forgotten = 0
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    ) as netlink:
        netlink.bind((0, 0))
        for flow in list(_matching(netlink, host_ports, addresses)):
            forgotten += _forget(netlink, flow)
    return forgotten


def _matching(
    netlink: socket.socket, host_ports: Collection[int], addresses: Collection[bytes]
) -> Iterator[_Flow]:
    # One walk for both families: its cost is the size of the table, not what is in it.
    netlink.send(_frame(_GET, NLM_F_DUMP, socket.AF_UNSPEC, b""))
    for payload in _answers(netlink):
        family, attributes = payload[0], parse_attributes(payload[4:])
        if family not in _SOURCE:
            continue
        there = _tuple(attributes.get(CTA_TUPLE_ORIG, b""), family)
        back = _tuple(attributes.get(CTA_TUPLE_REPLY, b""), family)
        if there.protocol != socket.IPPROTO_UDP or there.port not in host_ports:
            continue
        plain = (there.source, there.destination) == (back.destination, back.source)
        if plain or back.source in addresses:
            yield _Flow(family, attributes[CTA_TUPLE_ORIG])


def _forget(netlink: socket.socket, flow: _Flow) -> bool:
    body = attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original)
    netlink.send(_frame(_DELETE, NLM_F_ACK, flow.family, body))
    try:
        for _ in _answers(netlink):
            pass
    except OSError as error:
        if error.errno != errno.ENOENT:  # it ended by itself
            raise
        return False
    return True


def _answers(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        data, offset = netlink.recv(1 << 18), 0
        while offset < len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            payload = data[offset + 16 : offset + length]
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                number = -struct.unpack_from("=i", payload)[0]
                if number:
                    raise OSError(number, f"conntrack: {os.strerror(number)}")
                return
            yield payload
            offset += (length + 3) & ~3


def _tuple(data: bytes, family: int) -> _Tuple:
    attributes = parse_attributes(data)
    ip = parse_attributes(attributes.get(CTA_TUPLE_IP, b""))
    protocol = parse_attributes(attributes.get(CTA_TUPLE_PROTO, b""))
    return _Tuple(
        protocol=protocol.get(CTA_PROTO_NUM, b"\0")[0],
        source=ip.get(_SOURCE[family], b""),
        destination=ip.get(_DESTINATION[family], b""),
        port=int.from_bytes(protocol.get(CTA_PROTO_DST_PORT, b""), "big"),
    )


def _frame(kind: int, flags: int, family: int, body: bytes) -> bytes:
    header = struct.pack("=IHHII", 20 + len(body), kind, flags | NLM_F_REQUEST, 0, 0)
    return header + struct.pack("=BBH", family, 0, 0) + body
