"""What the embedded DNS answers: names of containers on one's networks. Pure.

Everything else is for the resolvers outside. Loaded with the first server only: dnspython takes
the daemon 2 MB.
"""

import random
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from pier.networks.directory import Directory

TTL_S = 600
UDP_BYTES = 512


def parse_query(wire: bytes) -> dns.message.Message | None:
    """The question in `wire`, which anybody may have sent; None if there is none."""
    try:
        query = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    asks = not query.flags & dns.flags.QR and query.question
    return query if asks else None


def answer(
    query: dns.message.Message,
    directories: Sequence[Directory],
    links: Mapping[str, Sequence[str]],
    *,
    shuffle: random.Random,
) -> dns.message.Message | None:
    """The response, if the question is about somebody here; None sends it outside.

    links: alias to names, the container's own `--link`s: the first name that is here counts. A
    name that is known but has no address
    of the family asked for gets an empty answer: nobody outside knows better.
    """
    if len(query.question) != 1 or query.question[0].rdclass != dns.rdataclass.IN:
        return None
    name, kind = query.question[0].name, query.question[0].rdtype
    if kind == dns.rdatatype.PTR:
        return _reverse(query, name, directories)
    if kind not in (dns.rdatatype.A, dns.rdatatype.AAAA):
        return None
    text = _text(name)
    meant = (_addresses(directories, each) for each in links.get(text, (text,)))
    found = next((addresses for addresses in meant if addresses), [])
    if not found:
        return None
    version = 4 if kind == dns.rdatatype.A else 6
    wanted = list(dict.fromkeys(a for a in found if ip_address(a).version == version))
    shuffle.shuffle(wanted)
    return _respond(query, name, kind, wanted)


def _addresses(directories: Sequence[Directory], name: str) -> list[str]:
    return [address for each in directories for address in each.addresses.get(name, ())]


def refuse(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    """A response that says no."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(code)
    return response


def stays_here(query: dns.message.Message, options: Sequence[str]) -> bool:
    """A name without a dot, which the client will ask for again with its search domains.

    Only where the user has set ndots, as that makes the client do so.
    """
    ndots = [option.partition(":")[2] for option in options if option.startswith("ndots:")]
    asked = ndots[-1:] not in ([], ["0"])
    kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
    return asked and any(
        question.rdtype in kinds and "." not in _text(question.name) for question in query.question
    )


def to_udp(query: dns.message.Message, response: dns.message.Message) -> bytes:
    """As large as the client takes, and marked as cut if that was not enough."""
    room = max(query.payload, UDP_BYTES) if query.edns >= 0 else UDP_BYTES
    return response.to_wire(max_size=room, prefer_truncation=True)


def _reverse(
    query: dns.message.Message, name: dns.name.Name, directories: Sequence[Directory]
) -> dns.message.Message | None:
    labels = _text(name)
    if labels.endswith(".in-addr.arpa"):
        address = ".".join(reversed(labels.split(".")[:-2]))
    elif labels.endswith(".ip6.arpa"):
        digits = "".join(reversed(labels.split(".")[:-2]))
        address = ":".join(digits[n : n + 4] for n in range(0, len(digits), 4))
    else:
        return None
    try:
        address = str(ip_address(address))
    except ValueError:
        return None
    found = [each.names[address] for each in directories if address in each.names]
    if not found:
        return None
    return _respond(query, name, dns.rdatatype.PTR, [f"{found[0]}."])


def _respond(
    query: dns.message.Message,
    name: dns.name.Name,
    kind: dns.rdatatype.RdataType,
    data: Sequence[str],
) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    if data:
        response.answer.append(dns.rrset.from_text(name, TTL_S, "IN", kind, *data))
    return response


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
