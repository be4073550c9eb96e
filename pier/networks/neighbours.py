"""Another's firewall on the same host, and our one exception in it.

A FORWARD chain of iptables with policy drop (a dockerd's, ufw's) drops what containers of ours
send and receive, whatever our own table says: a drop is final, an accept is not. So two rules for
each of our bridges go to the end of that chain, after everything its owner decided, marked with
our comment; and come out again when the daemon stops and no container is left. Nothing else of
others' is touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pier.linux.nftables import Nftables, NftError

_CHAIN = "filter FORWARD"
_FAMILIES = ("ip", "ip6")

Json = Mapping[str, Any]  # libnftables-json(5): a list of objects of one key each


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of ours in another's chain. key: "iifname" or "oifname"."""

    key: str
    bridge: str


async def admit(nft: Nftables, comment: str, bridges: Sequence[str]) -> None:
    """Have `bridges`, and no others of ours, exempt wherever FORWARD's policy is drop."""
    statements: list[str] = []
    for family in _dropping(await nft.list_json("chains")):
        present = _ours(await nft.list_json("chain", family, *_CHAIN.split()), comment)
        wanted = {Rule(key, bridge) for bridge in bridges for key in ("iifname", "oifname")}
        statements += (
            f"delete rule {family} {_CHAIN} handle {handle}"
            for handle, rule in present.items()
            if rule not in wanted
        )
        missing = wanted.difference(present.values())
        statements += (
            f'add rule {family} {_CHAIN} {rule.key} "{rule.bridge}" counter accept'
            f' comment "{comment}"'
            for rule in sorted(missing, key=lambda rule: (rule.bridge, rule.key))
        )
    await nft.apply(statements)


async def withdraw(nft: Nftables, comment: str) -> None:
    """Take all of ours out again, whatever the policy is by now."""
    statements: list[str] = []
    for family in _FAMILIES:
        try:
            listed = await nft.list_json("chain", family, *_CHAIN.split())
        except NftError:
            continue  # no such chain
        handles = _ours(listed, comment)
        statements += (f"delete rule {family} {_CHAIN} handle {handle}" for handle in handles)
    await nft.apply(statements)


def _dropping(listed: bytes) -> Iterator[str]:
    """Families whose `filter FORWARD` drops by default."""
    base = {"hook": "forward", "policy": "drop"}
    for family in _FAMILIES:
        table, name = _CHAIN.split()
        wanted = {**base, "family": family, "table": table, "name": name}
        if any(wanted.items() <= chain.items() for chain in _objects(listed, "chain")):
            yield family


def _ours(listed: bytes, comment: str) -> dict[int, Rule]:
    """Handles of the rules that carry our comment."""
    found = {}
    for rule in _objects(listed, "rule"):
        if rule.get("comment") == comment:
            match = rule["expr"][0]["match"]
            found[int(rule["handle"])] = Rule(match["left"]["meta"]["key"], match["right"])
    return found


def _objects(listed: bytes, kind: str) -> Iterator[Json]:
    for entry in msgspec.json.decode(listed)["nftables"]:
        if kind in entry:
            yield entry[kind]
