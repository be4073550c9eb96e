"""pier.networks.names: what the embedded DNS knows, and what it leaves to others."""

import random

import dns.flags
import dns.message
import dns.rcode
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.networks import names
from pier.networks.directory import directory, links_after_rename, links_by_alias
from pier.networks.model import Endpoint, Network, NetworkSpec

NETWORK = Network(id="1" * 64, spec=NetworkSpec(name="Net"))


def endpoint(ipv4: str, *dns_names: str, ipv6: str = "") -> Endpoint:
    return Endpoint(
        id="e" * 64,
        container_id="c" * 64,
        network=NETWORK,
        ipv4=ipv4,
        ipv6=ipv6,
        dns_names=dns_names,
    )


KNOWN = directory(
    "Net",
    [
        endpoint("10.0.0.2", "web", "www"),
        endpoint("10.0.0.3", "web2", "www", ipv6="fd00::3"),
        endpoint("10.0.0.4"),
    ],
)


def ask(name: str, kind: str) -> dns.message.Message | None:
    query = dns.message.make_query(name, kind)
    return names.answer(query, [KNOWN], {"db": ["gone", "web"]}, shuffle=random.Random(1))


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web", "A", {"10.0.0.2"}),
        ("WEB.", "A", {"10.0.0.2"}),
        ("web.net", "A", {"10.0.0.2"}),
        ("db", "A", {"10.0.0.2"}),
        ("www", "A", {"10.0.0.2", "10.0.0.3"}),
        ("www", "AAAA", {"fd00::3"}),
        ("web", "AAAA", set()),
        ("3.0.0.10.in-addr.arpa", "PTR", {"web2.Net."}),
        (dns.reversename.from_address("fd00::3").to_text(), "PTR", {"web2.Net."}),
    ],
)
def test_what_is_here_is_answered(name: str, kind: str, expected: set[str]) -> None:
    response = ask(name, kind)
    assert response is not None
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & dns.flags.RA
    assert {item.to_text() for rrset in response.answer for item in rrset} == expected
    assert all(rrset.ttl == 600 for rrset in response.answer)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("example.test", "A"),
        ("web.other", "A"),
        ("web", "MX"),
        ("9.0.0.10.in-addr.arpa", "PTR"),
        ("4.0.0.10.in-addr.arpa", "PTR"),  # there, but without a name
        ("x.in-addr.arpa", "PTR"),
        ("web", "PTR"),
    ],
)
def test_what_is_not_here_goes_outside(name: str, kind: str) -> None:
    assert ask(name, kind) is None


@pytest.mark.parametrize(
    ("name", "options", "stays"),
    [
        ("web", (), False),
        ("web", ("ndots:0",), False),
        ("web", ("ndots:1",), True),
        ("web.test", ("ndots:2",), False),
    ],
)
def test_a_bare_name_stays_here_where_the_user_has_set_ndots(
    name: str, options: tuple[str, ...], stays: bool
) -> None:
    assert names.stays_here(dns.message.make_query(name, "A"), options) == stays


def test_a_long_answer_is_cut_to_what_the_client_takes() -> None:
    many = directory("n", [endpoint(f"10.0.1.{n}", "many") for n in range(100)])
    for size, cut in ((None, True), (4096, False)):
        query = dns.message.make_query("many", "A", use_edns=0 if size else -1, payload=size)
        response = names.answer(query, [many], {}, shuffle=random.Random(1))
        assert response is not None
        wire = names.to_udp(query, response)
        assert len(wire) <= (size or 512)
        assert bool(dns.message.from_wire(wire).flags & dns.flags.TC) == cut


QUERY = dns.message.make_query("www", "A", use_edns=0).to_wire()


@settings(deadline=None)  # the machine is shared
@given(wire=st.binary(max_size=600))
def test_anything_may_be_sent(wire: bytes) -> None:
    answer_whatever_it_is(wire)


@settings(deadline=None)  # the machine is shared
@given(changes=st.dictionaries(st.integers(0, len(QUERY) - 1), st.integers(0, 255), max_size=6))
def test_a_damaged_question_does_no_harm(changes: dict[int, int]) -> None:
    wire = bytearray(QUERY)
    for place, byte in changes.items():
        wire[place] = byte
    answer_whatever_it_is(bytes(wire))


def answer_whatever_it_is(wire: bytes) -> None:
    query = names.parse_query(wire)
    if query is None:
        return
    names.stays_here(query, ["ndots:1"])
    response = names.answer(query, [KNOWN], {}, shuffle=random.Random(1))
    names.to_udp(query, response or names.refuse(query, dns.rcode.SERVFAIL))


@pytest.mark.parametrize("wire", [b"", b"x" * 11, dns.message.Message().to_wire()])
def test_what_asks_nothing_is_no_question(wire: bytes) -> None:
    assert names.parse_query(wire) is None
    answered = dns.message.make_response(dns.message.from_wire(QUERY)).to_wire()
    assert names.parse_query(answered) is None


@pytest.mark.parametrize(
    ("links", "after"),
    [
        (("db:d",), ("db:d", "new:d")),
        (("db",), ("db:db", "new:db")),
        (("first:d", "db:d"), ("first:d", "new:d")),
        (("new:d", "db:d"), ("new:d",)),
        (("other:d",), ("other:d",)),
        ((), ()),
    ],
)
def test_links_know_the_new_name_too(links: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert links_after_rename(links, "db", "new") == after


def test_an_alias_may_mean_several_names() -> None:
    assert links_by_alias(["a:X", "B", "c:x"]) == {"x": ["a", "c"], "b": ["b"]}
