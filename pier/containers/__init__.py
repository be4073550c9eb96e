"""What is run: containers, from the request that asks for one to the sweep after it.

model       the container as a record: identity, spec, status
spec        what was asked for, in Pier's words
state       which operation is allowed when; when to restart; what a crash means (tables)
store       containers in SQLite
names       made-up names
merge       the image's defaults under what was asked (pure)
binds       `-v`, `--mount`, `--tmpfs` and image volumes become mount points (pure)
to_oci      a container becomes an OCI config.json (pure)
mounts      volumes and binds made ready for a start; copy-up
launch      bringing a container up by steps, and taking it down
supervisor  the task that waits on a monitor and settles the exit
containers  the operations: create, start, stop, kill, remove, ...
exec        further processes in a running container; exec_records remembers them for a while
health      probes and their verdict
logs        reading back what the monitor wrote
stats       the cgroup's figures
files       cp, diff, export and commit: a container's file system seen from outside
"""
