"""One nftables rule set, by raw nfnetlink messages: a port of a local address, redirected.

It goes into a container's namespace, where a kept nft child is not, and starting one would cost
more than all else of the container's network. Anything else is `nftables`' work.
include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h
"""

import errno
import os
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address

from pier.linux.netlink import attribute, nested, text_attribute

NETLINK_NETFILTER = 12
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES = 16, 17, 10
NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE = 0, 2, 3, 6
NLMSG_ERROR, NLM_F_REQUEST, NLM_F_ACK = 2, 0x1, 0x4
NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x200, 0x400, 0x800
NF_INET_LOCAL_OUT, NAT_PRIORITY = 3, -100
NFT_REG_1, NFT_REG_2 = 1, 2
NFT_PAYLOAD_NETWORK, NFT_PAYLOAD_TRANSPORT = 1, 2
NFT_META_L4PROTO, NFT_CMP_EQ, NFT_NAT_DNAT = 16, 0, 1

_PROTOCOLS = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP}


def redirect(table: str, address: IPv4Address, port: int, targets: Mapping[str, int]) -> None:
    """Have what local programs send to `address`:`port` arrive at `address`:`targets[protocol]`.

    Acts in the namespace of the calling thread. The table does nothing else; one of that name
    that is there already is replaced.
    """
    try:
        _commit(_table(table, address, port, targets))
    except FileExistsError:
        # In one transaction, but not from the first: deleting waits for RCU, 10 ms and more.
        delete = _message(NFT_MSG_DELTABLE, 0, text_attribute(1, table))
        _commit([delete, *_table(table, address, port, targets)])


def _table(table: str, address: IPv4Address, port: int, targets: Mapping[str, int]) -> list[bytes]:
    name = text_attribute(1, table)
    hook = nested(4, _be32(1, NF_INET_LOCAL_OUT), _be32(2, NAT_PRIORITY))
    chain = name + text_attribute(3, "output") + hook + text_attribute(7, "nat")
    appended = NLM_F_CREATE | NLM_F_APPEND
    return [
        _message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, name),
        _message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain),
        *(
            _message(NFT_MSG_NEWRULE, appended, _rule(table, address, port, protocol, target))
            for protocol, target in targets.items()
        ),
    ]


def _rule(table: str, address: IPv4Address, port: int, protocol: str, target: int) -> bytes:
    expressions = (
        _load(NFT_PAYLOAD_NETWORK, offset=16, length=4),  # ip daddr
        _equals(address.packed),
        _expression("meta", _be32(1, NFT_REG_1) + _be32(2, NFT_META_L4PROTO)),
        _equals(bytes([_PROTOCOLS[protocol]])),
        _load(NFT_PAYLOAD_TRANSPORT, offset=2, length=2),  # th dport
        _equals(port.to_bytes(2, "big")),
        _immediate(NFT_REG_1, address.packed),
        _immediate(NFT_REG_2, target.to_bytes(2, "big")),
        _expression(
            "nat",
            _be32(1, NFT_NAT_DNAT)
            + _be32(2, socket.AF_INET)
            + _be32(3, NFT_REG_1)
            + _be32(5, NFT_REG_2),
        ),
    )
    return text_attribute(1, table) + text_attribute(2, "output") + nested(4, *expressions)


def _commit(messages: list[bytes]) -> None:
    frames = [_frame(NFNL_MSG_BATCH_BEGIN, 0, 0, _generic(0, NFNL_SUBSYS_NFTABLES))]
    for number, message in enumerate(messages, start=1):
        kind, flags = struct.unpack_from("=HH", message)
        frames.append(_frame(kind, flags | NLM_F_ACK, number, message[4:]))
    frames.append(_frame(NFNL_MSG_BATCH_END, 0, 0, _generic(0, NFNL_SUBSYS_NFTABLES)))
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    ) as netlink:
        netlink.bind((0, 0))
        netlink.send(b"".join(frames))
        _await_answers(netlink, len(messages))


def _await_answers(netlink: socket.socket, expected: int) -> None:
    answered = 0
    while answered < expected:
        data, offset = netlink.recv(1 << 16), 0
        while offset < len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            if kind == NLMSG_ERROR:
                answered += 1
                number = -struct.unpack_from("=i", data, offset + 16)[0]
                if number:
                    raise OSError(number, f"nftables redirect: {os.strerror(number)}")
            offset += (length + 3) & ~3
        if not data:
            raise OSError(errno.EPIPE, "nftables redirect: no answer")


def _message(kind: int, flags: int, body: bytes) -> bytes:
    header = struct.pack("=HH", NFNL_SUBSYS_NFTABLES << 8 | kind, flags)
    return header + _generic(socket.AF_INET, 0) + body


def _generic(family: int, resource: int) -> bytes:
    return struct.pack("=BB", family, 0) + resource.to_bytes(2, "big")


def _frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def _load(base: int, *, offset: int, length: int) -> bytes:
    data = _be32(1, NFT_REG_1) + _be32(2, base) + _be32(3, offset) + _be32(4, length)
    return _expression("payload", data)


def _equals(value: bytes) -> bytes:
    data = _be32(1, NFT_REG_1) + _be32(2, NFT_CMP_EQ) + nested(3, attribute(1, value))
    return _expression("cmp", data)


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", _be32(1, register) + nested(2, attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return nested(1, text_attribute(1, name), nested(2, data))


def _be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))
