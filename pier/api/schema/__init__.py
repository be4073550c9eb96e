"""Docker's JSON as msgspec Structs, and its translation from and to Pier's values. Pure.

decode      request bodies: Go's forgiving rules, errors with a path
filters     the `filters` parameter, and what matches it
words       times and states as people read them
config      ContainerConfig both ways; create's checks
host        HostConfig both ways
resources   limits, devices, ulimits both ways
mounts      `--mount` requests, and mount points
endpoints   EndpointSettings both ways
containers  inspect, list
images networks volumes execs system events stats progress archive
"""
