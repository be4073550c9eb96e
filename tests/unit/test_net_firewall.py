"""pier.networks.firewall and neighbours: what is said to nft. That it works, tests/root shows."""

from pier.networks import firewall
from pier.networks.firewall import Bridge, Forward
from pier.networks.neighbours import Rule, _dropping, _ours

WEB = Forward(protocol="tcp", host_ip="0.0.0.0", host_port=80, address="10.0.0.2", port=8080)


def test_a_published_port_is_one_element_whatever_its_address() -> None:
    at = Forward(protocol="udp", host_ip="127.0.0.1", host_port=53, address="10.0.0.2", port=53)
    v6 = Forward(protocol="tcp", host_ip="::", host_port=80, address="fd00::2", port=8080)
    assert firewall.add_elements("pier-x", [WEB, at, v6]) == [
        "add element inet pier-x published4 { tcp . 80 : 10.0.0.2 . 8080 }",
        "add element inet pier-x published4_at { 127.0.0.1 . udp . 53 : 10.0.0.2 . 53 }",
        "add element inet pier-x published6 { tcp . 80 : fd00::2 . 8080 }",
    ]
    assert firewall.delete_elements("pier-x", [WEB])[0].startswith("delete element inet pier-x")


def test_the_table_replaces_itself_in_one_script() -> None:
    inner = Bridge(name="br-1", subnets=("10.1.0.0/24",), internal=True, masquerade=False)
    apart = Bridge(name="br-2", subnets=("10.2.0.0/24", "fd02::/64"), icc=False)
    script = firewall.table_script("pier-x", [inner, apart], [WEB])
    assert script.startswith("table inet pier-x\ndelete table inet pier-x\ntable inet pier-x {")
    assert 'set internal { type ifname; elements = { "br-1" }; }' in script
    assert 'set within { type ifname . ifname; elements = { "br-1" . "br-1" }; }' in script
    assert 'oifname != "br-2" ip6 saddr fd02::/64 masquerade' in script
    assert 'oifname != "br-1"' not in script
    assert script.rstrip().endswith(firewall.add_elements("pier-x", [WEB])[0])


def test_what_leaves_a_bridge_comes_from_its_subnets() -> None:
    one = Bridge(name="br-1", subnets=("10.1.0.0/24", "fd01::/64"))
    script = firewall.table_script("pier-x", [one], [])
    assert 'map sources { type ifname : verdict; elements = { "br-1" : jump source0 }; }' in script
    assert "ip saddr 10.1.0.0/24 return\n        ip6 saddr fd01::/64 return\n" in script
    assert "fib saddr . iif oif exists return" in script
    old = firewall.table_script("pier-x", [one], [], routes=False)
    assert "fib saddr . iif" not in old


def test_a_table_without_networks_has_empty_sets() -> None:
    assert "set bridges { type ifname; }" in firewall.table_script("pier-x", [], [])


def test_neighbours_that_drop_are_seen_and_our_rules_among_theirs() -> None:
    chains = (
        b'{"nftables": [{"metainfo": {}},'
        b'{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1,'
        b' "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},'
        b'{"chain": {"family": "ip6", "table": "filter", "name": "FORWARD", "handle": 1,'
        b' "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}},'
        b'{"chain": {"family": "inet", "table": "mine", "name": "forward", "handle": 1,'
        b' "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}]}'
    )
    assert list(_dropping(chains)) == ["ip"]
    rules = (
        b'{"nftables": [{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD",'
        b' "handle": 7, "comment": "pier-x", "expr": [{"match": {"op": "==",'
        b' "left": {"meta": {"key": "iifname"}}, "right": "br-1"}}, {"accept": null}]}},'
        b'{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 8,'
        b' "expr": [{"jump": {"target": "DOCKER-USER"}}]}}]}'
    )
    assert _ours(rules, "pier-x") == {7: Rule("iifname", "br-1")}
