"""`pier registry serve`: an OCI registry of one's own.

command    arguments, TLS, the listening socket, periodic collection
app        routes, errors, authentication, metrics around the handlers
manifests  blobs     the HTTP handlers
contents   what a registry holds: repositories, tags, links, referrers, over a backend
backend    where it is kept: a directory; `s3`: object storage
spool      uploads under way, always on the local disk
collect    removing what nothing refers to, while serving
cache      pull-through: another registry behind this one
evict      keeping such a cache small
access  htpasswd  metrics
"""
