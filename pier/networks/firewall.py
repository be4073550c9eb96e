"""The daemon's one nftables table, as text. Pure.

What a network needs are rules, and the table is written as a whole, in one transaction, whenever
networks come or go. What a container needs, a published port, is an element of a map: one add
when it starts and one delete when it stops, however many there are.

The table is a bystander: it drops what reaches our bridges and was not asked for, and accepts
nothing on behalf of others' tables. Names of interfaces are data: they are checked where networks
are created, and quoted here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ANY = ("0.0.0.0", "::")  # noqa: S104  (published on every address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What the firewall has to know of one network."""

    name: str
    subnets: tuple[str, ...]
    internal: bool = False
    icc: bool = True
    masquerade: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Host address and port to a container's; both addresses of one family."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int


_FIXED = """\
    map published4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
    map published4_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
    map published6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
    map published6_at { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
    chain guard {
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip daddr 127.0.0.0/8 drop
        iifname @bridges ip saddr 127.0.0.0/8 drop
    }
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 return
        fib daddr type local goto publish
    }
    chain output {
        type nat hook output priority -100; policy accept;
        fib daddr type local goto publish
    }
    chain publish {
        dnat ip to ip daddr . meta l4proto . th dport map @published4_at
        dnat ip to meta l4proto . th dport map @published4
        ip6 daddr != ::1 dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6_at
        ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @published6
    }
    chain input {
        type filter hook input priority filter; policy accept;
        iifname vmap @sources
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        iifname . oifname != @itself iifname vmap @sources
        oifname @bridges goto inbound
        iifname @internal drop
        iifname @bridges oifname "docker0" ct status & dnat == 0 ct state new drop
    }
    chain inbound {
        iifname . oifname @within accept
        iifname @internal drop
        ct state established,related accept
        oifname @internal drop
        ct status dnat accept
        drop
    }
"""
# guard: route_localnet lets 127.0.0.1 of the host reach a container, and would let a container
#   reach 127.0.0.1 of the host, or speak to the host in its name; this is before connection
#   tracking, so answers are not affected.
# prerouting, 127.0.0.0/8: translated before it is routed, what a neighbour sends to 127.0.0.1 would
#   reach a port that is published there only.
# publish, from output too (-100 is dstnat; nft has no name for it there): so no proxy is needed
#   for a client on the host itself. ::1 cannot be routed off lo, so the daemon's proxy serves it.
# sources: what leaves a bridge, or is for the host, must come from where its answer would go; or a
#   container could speak in the name of another network's, or of anybody outside. Not what stays
#   in a bridge (which is here only with br_netfilter): there containers may route as they like.
# forward, docker0: old dockerds drop nothing on the way in, they rely on FORWARD's policy.
# inbound: reached only for packets to one of our bridges. Within a network is free (unless icc is
#   off); answers, and what was published, may enter; other bridges and routed strangers may not.


def table_script(
    table: str, bridges: Sequence[Bridge], forwards: Sequence[Forward], *, routes: bool = True
) -> str:
    """A script that makes the table exactly this, whatever it was before; atomic.

    routes: whether what the host has a route for, through a bridge, may come from there; before
    Linux 5.19 the kernel cannot be asked so late.
    """
    name = f"inet {table}"
    sources = [f"{_quote(bridge.name)} : jump source{n}" for n, bridge in enumerate(bridges)]
    body = "\n".join(
        (
            _set("bridges", "ifname", [_quote(b.name) for b in bridges]),
            _set("internal", "ifname", [_quote(b.name) for b in bridges if b.internal]),
            _set(
                "within",
                "ifname . ifname",
                [_pair(b.name) for b in bridges if b.icc],
            ),
            _set("itself", "ifname . ifname", [_pair(b.name) for b in bridges]),
            *(line for n, b in enumerate(bridges) for line in _source_chain(n, b, routes=routes)),
            _map("sources", "ifname : verdict", sources),
            _FIXED,
            "    chain postrouting {",
            "        type nat hook postrouting priority srcnat; policy accept;",
            "        oifname @bridges fib saddr type local ct status dnat masquerade",
            *(f"        {rule}" for bridge in bridges for rule in _source_rules(bridge)),
            "    }",
        )
    )
    elements = "\n".join(add_elements(table, forwards))
    return f"table {name}\ndelete table {name}\ntable {name} {{\n{body}\n}}\n{elements}\n"


def delete_script(table: str) -> str:
    """Away with the table; fine if there is none."""
    return f"table inet {table}\ndelete table inet {table}\n"


def add_elements(table: str, forwards: Sequence[Forward]) -> list[str]:
    return [_element("add", table, forward) for forward in forwards]


def delete_elements(table: str, forwards: Sequence[Forward]) -> list[str]:
    return [_element("delete", table, forward) for forward in forwards]


def _element(verb: str, table: str, forward: Forward) -> str:
    version = 6 if ":" in forward.address else 4
    key = f"{forward.protocol} . {forward.host_port}"
    target = f"{forward.address} . {forward.port}"
    name = f"published{version}"
    if forward.host_ip not in ANY:
        name, key = f"{name}_at", f"{forward.host_ip} . {key}"
    return f"{verb} element inet {table} {name} {{ {key} : {target} }}"


def _source_rules(bridge: Bridge) -> Iterator[str]:
    """Source addresses of what leaves containers: the host's, where the answer must come back."""
    for subnet in bridge.subnets:
        family, name = ("ip6" if ":" in subnet else "ip"), _quote(bridge.name)
        # A container that reaches a neighbour by the host's published port: without this the
        # neighbour would answer it directly, from an address it never asked.
        yield f"oifname {name} {family} saddr {subnet} ct status dnat masquerade"
        if bridge.masquerade:
            yield f"oifname != {name} {family} saddr {subnet} masquerade"


def _source_chain(number: int, bridge: Bridge, *, routes: bool) -> Iterator[str]:
    """Returns for what may come from the bridge: its subnets, DHCP's questions, link-local IPv6."""
    yield f"    chain source{number} {{"
    yield "        ip saddr 0.0.0.0 udp dport 67 return"
    yield "        ip6 saddr { ::, fe80::/10 } return"
    for subnet in bridge.subnets:
        yield f"        {'ip6' if ':' in subnet else 'ip'} saddr {subnet} return"
    if routes:
        yield "        fib saddr . iif oif exists return"
    yield "        drop"
    yield "    }"


def _set(name: str, kind: str, elements: Sequence[str]) -> str:
    return f"    set {name} {{ type {kind};{_listed(elements)} }}"


def _map(name: str, kind: str, elements: Sequence[str]) -> str:
    return f"    map {name} {{ type {kind};{_listed(elements)} }}"


def _listed(elements: Sequence[str]) -> str:
    return f" elements = {{ {', '.join(elements)} }};" if elements else ""


def _pair(name: str) -> str:
    return f"{_quote(name)} . {_quote(name)}"


def _quote(name: str) -> str:
    return f'"{name}"'
