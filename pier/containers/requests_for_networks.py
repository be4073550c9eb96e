"""What a container asks of the networks, from its spec. Pure."""

from pier.containers.exposed import parse_exposed
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.spec import ContainerSpec, EndpointSpec
from pier.networks.model import EndpointRequest, PortRequest, SandboxRequest


def sandbox_request(container: Container) -> SandboxRequest:
    """What the networks are asked for."""
    spec = container.spec
    host = spec.host
    return SandboxRequest(
        container_id=container.id,
        name=container.name,
        hostname=spec.hostname,
        domainname=spec.domainname,
        endpoints=endpoint_requests(spec),
        ports=() if host.network_mode in ("host", "none") else port_requests(spec),
        dns=host.dns,
        dns_search=host.dns_search,
        dns_options=host.dns_options,
        extra_hosts=host.extra_hosts,
        sysctls=host.sysctls,
    )


def attachments(spec: ContainerSpec) -> dict[str, EndpointSpec]:
    """The networks a new container is attached to: those asked for, else that of its mode."""
    mode = "none" if spec.network_disabled else spec.host.network_mode
    if joined_container(mode):
        return {}
    if mode in ("none", "host"):
        return {mode: spec.endpoints.get(mode, EndpointSpec())}
    return dict(spec.endpoints) or {mode: EndpointSpec()}


def endpoint_requests(spec: ContainerSpec) -> dict[str, EndpointRequest]:
    """By network name. Empty for a container that was disconnected from all."""
    return {
        name: EndpointRequest(
            ipv4=asked.ipv4,
            ipv6=asked.ipv6,
            mac_address=asked.mac_address,
            aliases=asked.aliases,
            links=asked.links,
            link_local_ips=asked.link_local_ips,
            gateway_priority=asked.gateway_priority,
            driver_options=asked.driver_options,
        )
        for name, asked in spec.endpoints.items()
    }


def port_requests(spec: ContainerSpec) -> list[PortRequest]:
    """`-p`, and with `-P` every exposed port that has no `-p` of its own."""
    host = spec.host
    ports = [
        PortRequest(port=b.port, protocol=b.protocol, host_ip=b.host_ip, host_port=b.host_port)
        for b in host.port_bindings
    ]
    if host.publish_all_ports:
        bound = {(port.port, port.protocol) for port in ports}
        ports += [
            PortRequest(port=port.number, protocol=port.protocol)
            for port in parse_exposed(spec.exposed_ports)
            if port not in bound
        ]
    return ports
