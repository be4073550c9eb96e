"""Who can talk to whom: networks, the endpoints of containers on them, published ports, names.

model       what a network, an endpoint and a published port are; the daemon's settings for them
pools       the subnets of `bridge`, and where those of IPv6 come from
ipam        which subnet a network gets, which address an endpoint gets (pure)
firewall    the one nftables table of this daemon, as text (pure)
files       /etc/hosts and /etc/resolv.conf of a container, as text (pure)
store       networks, endpoints and ports as rows
bridge      bridge devices, and what the host already uses
devices     the bridges of all networks, made anew if somebody removed one
sandbox     network namespaces: made ready, furnished, let go of
pool        a few sandboxes made before they are asked for; the old ones swept away in batches
ports       host ports: chosen, and held by a bound socket
publishing  published ports, kept where the way out is
proxy       TCP from [::] of the host to a container without IPv6
table       the firewall, kept as the rows say
flows       UDP flows that lead to a container that is gone
neighbours  another's FORWARD policy of drop, and our exception from it
directory   names and addresses on a network (pure)
names       what the embedded DNS answers (pure)
dns         the embedded DNS server of a sandbox, 127.0.0.11
claims      addresses and names of an endpoint, as a row
sysctls     settings of a container's namespace
attachments containers on networks: bring up, take down, adopt, connect, disconnect
networks    networks: create, find, remove, prune; opens and closes it all

Words: a *network* is a bridge device with subnets; a *sandbox* a container's network namespace; an
*endpoint* the sandbox's attachment to one network. Everything is found again from rows and from
kernel names: the bridge is named after the network, the veth after the endpoint, and both carry
an alias that names this daemon. Nothing is pinned on the file system.
"""
