"""The OCI and Docker specifications as values: no I/O, no policy of Pier's.

digest      how content is named: `sha256:<hex>`, and descriptors that point at it
reference   how images are named: `[host/]path[:tag][@digest]`, with Docker Hub as default
manifest    image manifests and indexes, OCI's and Docker's (schema 2)
image       image configs: what to run, which layers, how it was made; chain IDs
capabilities  their names, in the kernel's order
duration    1m30s, as Go prints one
platform    os/architecture/variant: parsing, matching, preference
"""
