"""The distribution protocol, from both ends. Knows blobs and manifests, nothing of images here.

    protocol     headers, names, ranges, error bodies as values; no I/O
    hosts        which servers speak for a registry: mirrors, certificates, insecure ones
    hosts_toml   containerd's way to say so
    credentials  who we are, and which registry a secret is for
    auth         challenges to tokens, kept and renewed
    tls          contexts and proxies for outgoing connections
    transport    one request: schemes, redirects, retries, errors
    breakage     why a connection failed
    fetching     one blob over connections that break
    repository   reading: manifests, blobs, tags, referrers
    uploads      writing: mounts, chunked uploads, manifests
    client       RegistryClient: where the engine begins
    queries      login, search, /distribution, manifest inspect
    failures     what can go wrong, in Docker's words
    server/      a registry of one's own

*registry*: what a reference's domain names (`docker.io`). *endpoint*: one server that speaks for
it. *origin*: the endpoint that is the registry itself.
"""
