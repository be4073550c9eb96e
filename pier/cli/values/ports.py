"""`-p [ip:][host[-range]:]container[-range][/protocol]` and `--expose`. Docker run reference."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Bindings = dict[str, list[dict[str, str]]]

PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535


def parse_publish(specs: Iterable[str]) -> Bindings:
    """Return PortBindings: `80/tcp` to where it is published."""
    bindings: Bindings = {}
    for spec in specs:
        short = _short_form(spec) if "=" in spec else spec
        for port, host_ip, host_port in _parse_one(short):
            places = bindings.setdefault(port, [])
            place = {"HostIp": host_ip, "HostPort": host_port}
            if place not in places:
                places.append(place)
    return bindings


def _short_form(spec: str) -> str:
    """Turn `target=80,published=8080,protocol=udp` into the other form."""
    fields = {"protocol": "tcp", "published": "", "target": "", "mode": ""}
    for part in spec.split(","):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals or key not in fields:
            raise ValueError(f"invalid field {part}" if not equals else f"invalid field key {key}")
        fields[key] = value.strip()
    if not fields["target"]:
        raise ValueError(f"missing mandatory field 'target' in {spec}")
    if fields["protocol"].lower() not in PROTOCOLS:
        raise ValueError(f"invalid protocol value '{fields['protocol']}'")
    middle = f"{fields['published']}:" if fields["published"] else ""
    return f"{middle}{fields['target']}/{fields['protocol']}"


def _parse_one(spec: str) -> list[tuple[str, str, str]]:
    place, _, protocol = spec.partition("/")
    if "/" in spec and protocol.lower() not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    protocol = protocol.lower() or "tcp"
    host_ip, host, inside = _split(place)
    if not inside:
        raise ValueError(f"no port specified: {spec}<empty>")
    first, last = _port_range(inside, "containerPort")
    if not host:
        return [(f"{port}/{protocol}", host_ip, "") for port in range(first, last + 1)]
    host_first, host_last = _port_range(host, "hostPort")
    if last - first != host_last - host_first:
        if first != last:
            raise ValueError(
                f"invalid ranges specified for container and host Ports: {inside} and {host}"
            )
        return [(f"{first}/{protocol}", host_ip, f"{host_first}-{host_last}")]
    shift = host_first - first
    ports = range(first, last + 1)
    return [(f"{port}/{protocol}", host_ip, str(port + shift)) for port in ports]


def _split(place: str) -> tuple[str, str, str]:
    """Return (host address, host port, container port); the first two may be empty."""
    rest, _, inside = place.rpartition(":")
    host_ip, colon, host = rest.rpartition(":")
    if not colon:
        return "", host, inside
    if host_ip.startswith("[") and host_ip.endswith("]"):
        host_ip = host_ip[1:-1]
    if host_ip and not _is_address(host_ip):
        raise ValueError(f"invalid IP address: {host_ip}")
    return host_ip, host, inside


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _port_range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ports = (first, last) if dash else (first, first)
    if not all(port.isdigit() and int(port) <= HIGHEST for port in ports):
        raise ValueError(f"invalid {what}: {text}")
    start, end = int(ports[0]), int(ports[1])
    if end < start:
        raise ValueError(f"invalid {what}: {text}")
    return start, end


def parse_expose(specs: Iterable[str]) -> list[str]:
    """Return the ports that `--expose` names, as `80/tcp`."""
    exposed: list[str] = []
    for spec in specs:
        if ":" in spec:
            raise ValueError(f"invalid port format for --expose: {spec}")
        place, _, protocol = spec.partition("/")
        protocol = protocol.lower() or "tcp"
        first, dash, last = place.partition("-")
        for port in (first, last) if dash else (first,):
            if not port.isdigit() or int(port) > HIGHEST:
                wrong = "value out of range" if port.isdigit() else "invalid syntax"
                reason = f'strconv.ParseUint: parsing "{port}": {wrong}'
                raise ValueError(f"invalid range format for --expose: {spec}, error: {reason}")
        end = int(last) if dash else int(first)
        exposed += [f"{port}/{protocol}" for port in range(int(first), end + 1)]
    return exposed
