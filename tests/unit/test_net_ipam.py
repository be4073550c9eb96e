"""pier.networks.ipam: subnets and addresses, and Docker's words when there are none."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.errors import Forbidden, InvalidArgument
from pier.networks import ipam
from pier.networks.model import (
    DEFAULT_ADDRESS_POOLS,
    AddressPool,
    EndpointRequest,
    Network,
    NetworkSpec,
    Pool,
)

SPEC = NetworkSpec(name="n")


def decide(
    spec: NetworkSpec, networks: tuple[str, ...] = (), host: tuple[str, ...] = ()
) -> NetworkSpec:
    return ipam.decide_pools(
        spec,
        available=[*DEFAULT_ADDRESS_POOLS, AddressPool("fd12:3456:789a::/48", 64)],
        networks=[ip_network(n) for n in networks],
        host=[ip_network(n) for n in host],
    )


def network(pool: Pool, *, chosen_subnet: bool = False) -> Network:
    return Network(id="1" * 64, spec=replace(SPEC, pools=(pool,), chosen_subnet=chosen_subnet))


@pytest.mark.parametrize(
    ("networks", "host", "expected"),
    [
        ((), (), "172.17.0.0/16"),
        (("172.17.0.0/16",), (), "172.18.0.0/16"),
        ((), ("172.16.0.0/12",), "192.168.0.0/20"),
        (("172.17.0.0/16",), ("172.18.3.4/32", "172.19.0.0/24"), "172.20.0.0/16"),
        (("172.16.0.0/12", "192.168.0.0/20"), (), "192.168.16.0/20"),
    ],
)
def test_the_first_free_subnet_is_chosen(
    networks: tuple[str, ...], host: tuple[str, ...], expected: str
) -> None:
    (pool,) = decide(SPEC, networks, host).pools
    assert pool.subnet == expected
    assert ip_address(pool.gateway) == ip_network(expected).network_address + 1


def test_no_subnet_is_left() -> None:
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully"):
        decide(SPEC, ("172.16.0.0/12", "192.168.0.0/16"))


def test_an_asked_subnet_may_hide_the_hosts_but_no_other_networks() -> None:
    asked = replace(SPEC, pools=(Pool(subnet="10.0.0.0/24", ip_range="10.0.0.128/25"),))
    (pool,) = decide(asked, host=("10.0.0.0/8",)).pools
    assert pool.gateway == "10.0.0.128"
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        decide(asked, networks=("10.0.0.64/26",))


def test_a_second_family_is_added_when_it_is_wanted() -> None:
    pools = decide(replace(SPEC, enable_ipv6=True)).pools
    assert [p.subnet for p in pools] == ["172.17.0.0/16", "fd12:3456:789a::/64"]
    asked = replace(SPEC, pools=(Pool(subnet="fd00::/64"),))
    assert [p.subnet for p in decide(asked).pools] == ["172.17.0.0/16"]


@pytest.mark.parametrize(
    ("pool", "problem"),
    [
        (Pool(subnet="10.0.0.0/33"), "invalid subnet 10.0.0.0/33: invalid CIDR block notation"),
        (Pool(subnet="10.0.0.1/24"), "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"),
        (
            Pool(subnet="10.0.0.0/24", ip_range="10.0.1.0/25"),
            "invalid ip-range 10.0.1.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
        ),
        (
            Pool(subnet="10.0.0.0/24", ip_range="10.0.0.0/16"),
            "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24",
        ),
        (
            Pool(subnet="10.0.0.0/24", gateway="10.0.1.1"),
            "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
        ),
        (
            Pool(subnet="10.0.0.0/24", gateway="fd00::1"),
            "invalid gateway fd00::1: parent subnet is an IPv4 block",
        ),
        (
            Pool(subnet="10.0.0.0/24", auxiliary={"a": "x"}),
            "invalid auxiliary address x: invalid address",
        ),
    ],
)
def test_a_bad_pool_is_named(pool: Pool, problem: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decide(replace(SPEC, pools=(pool,)))
    assert str(caught.value) == f"invalid network config:\n{problem}"


def test_addresses_are_given_serially_and_what_was_released_last_of_all() -> None:
    pool = Pool(subnet="10.0.0.0/29", gateway="10.0.0.1", auxiliary={"router": "10.0.0.4"})
    given_out, last = [], ""
    for _ in range(6):
        last = ipam.allocate(network(pool), pool, (), last)
        given_out.append(last)
    assert [a[-1] for a in given_out] == ["2", "3", "5", "6", "2", "3"]
    used = {f"10.0.0.{n}" for n in (2, 3, 5, 6)}
    with pytest.raises(ipam.NoAddressLeft, match="no available IPv4 addresses on this network's"):
        ipam.allocate(network(pool), pool, used, last)


@settings(deadline=None)  # the machine is shared
@given(
    prefix=st.integers(24, 30),
    used=st.sets(st.integers(0, 255), max_size=250),
    last=st.integers(0, 255) | st.none(),
)
def test_an_address_is_free_and_inside_or_there_is_none(
    prefix: int, used: set[int], last: int | None
) -> None:
    subnet = ip_network(f"10.0.0.0/{prefix}")
    pool = Pool(subnet=str(subnet), gateway="10.0.0.1")
    taken = {f"10.0.0.{n}" for n in used}
    free = {str(a) for a in subnet.hosts()} - taken - {"10.0.0.1"}
    try:
        found = ipam.allocate(network(pool), pool, taken, f"10.0.0.{last}" if last else "")
    except ipam.NoAddressLeft:
        assert not free
    else:
        assert found in free


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.9", "10.0.0.7"])
def test_an_address_that_is_taken_cannot_be_claimed(address: str) -> None:
    pool = Pool(subnet="10.0.0.0/24", gateway="10.0.0.1", auxiliary={"a": "10.0.0.7"})
    with pytest.raises(Forbidden, match="Address already in use"):
        ipam.claim(pool, address, {"10.0.0.9"})
    assert ipam.claim(pool, "10.0.0.8", {"10.0.0.9"}) == "10.0.0.8"


def test_users_choose_addresses_only_in_subnets_they_chose() -> None:
    pool = Pool(subnet="10.0.0.0/24", gateway="10.0.0.1")
    wish = EndpointRequest(ipv4="10.0.0.8")
    ipam.check_request(network(pool, chosen_subnet=True), wish)
    with pytest.raises(InvalidArgument, match="only when connecting to networks with user conf"):
        ipam.check_request(network(pool), wish)
    with pytest.raises(InvalidArgument, match=r"contain the IP address 10\.1\.0\.8"):
        ipam.check_request(network(pool, chosen_subnet=True), EndpointRequest(ipv4="10.1.0.8"))
    with pytest.raises(InvalidArgument, match="invalid MAC address"):
        ipam.check_request(network(pool), EndpointRequest(mac_address="02:42"))
    default = Network(id="2" * 64, spec=NetworkSpec(name="bridge", pools=(pool,)))
    with pytest.raises(InvalidArgument, match="supported on user defined networks only"):
        ipam.check_request(default, wish)


@pytest.mark.parametrize(
    "pool",
    [
        Pool(subnet="fe80::%x; flush ruleset/64"),
        Pool(subnet="fd00::/64", gateway="fd00::1%x"),
        Pool(subnet="fd00::/64", ip_range="fd00::%x/80"),
        Pool(subnet="fd00::/64", auxiliary={"a": "fd00::2%x"}),
    ],
)
def test_a_scope_is_no_part_of_an_address(pool: Pool) -> None:
    with pytest.raises(InvalidArgument, match="scope"):
        decide(replace(SPEC, pools=(pool,), enable_ipv6=True))


@pytest.mark.parametrize(
    "request_",
    [
        EndpointRequest(mac_address="ff:ff:ff:ff:ff:ff"),
        EndpointRequest(mac_address="01:00:5e:00:00:01"),
        EndpointRequest(mac_address="zz"),
        *(
            EndpointRequest(driver_options={"com.docker.network.endpoint.ifname": name})
            for name in ("../x", "a b", "lo", "all", "x" * 16, "a\n", ".")
        ),
    ],
)
def test_what_no_interface_can_be_is_refused(request_: EndpointRequest) -> None:
    with pytest.raises(InvalidArgument):
        ipam.check_request(network(Pool(subnet="10.0.0.0/24")), request_)


@pytest.mark.parametrize(
    "subnet",
    [
        "0.0.0.0/8", "0.0.0.0/1", "127.0.0.0/8", "127.9.0.0/16", "224.0.0.0/4", "239.1.0.0/16",
        "255.255.255.255/32", "::/64", "::/0", "::1/128", "ff00::/8", "ff02::/64", "fe80::/10",
    ],
)  # fmt: skip
def test_subnets_no_interface_can_have_are_refused(subnet: str) -> None:
    with pytest.raises(ipam.UnusableSubnet, match=f"subnet '{subnet}' is not allowed: it "):
        decide(replace(SPEC, enable_ipv6=":" in subnet, pools=(Pool(subnet=subnet),)))


@pytest.mark.parametrize(
    ("subnet", "gateway", "address"),
    [
        ("10.9.0.0/30", "10.9.0.1", "10.9.0.2"),
        ("10.9.0.0/31", "10.9.0.0", "10.9.0.1"),
        ("10.9.0.0/32", "10.9.0.0", None),
        ("fd99::/126", "fd99::1", "fd99::2"),
        ("fd99::/127", "fd99::", "fd99::1"),
        ("fd99::/128", "fd99::", None),
    ],
)
def test_the_smallest_subnets(subnet: str, gateway: str, address: str | None) -> None:
    spec = replace(SPEC, enable_ipv4=":" not in subnet, enable_ipv6=":" in subnet)
    (pool,) = decide(replace(spec, pools=(Pool(subnet=subnet),))).pools
    assert pool.gateway == gateway
    if address is None:
        with pytest.raises(ipam.NoAddressLeft):
            ipam.allocate(network(pool), pool, (), "")
    else:
        assert ipam.allocate(network(pool), pool, (), "") == address
