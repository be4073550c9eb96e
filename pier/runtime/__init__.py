"""How a process is run: a spawner, a monitor for each process, an OCI runtime.

    daemon ── monitors.py ──> spawner.py ──fork──> monitor.py ──> crun | runc ──> the container
       └───────── SEQPACKET, JSON and descriptors ─────┘
       └──────────────────────> exec_host.py, many monitors ──> native_exec.py ──> the exec

The *spawner* is one small Python process the daemon keeps; it forks a *monitor* for each
container, and a *host* of monitors for execs. The monitor is the parent of the container's process
(a subreaper). It holds stdio, log and exit code, serves clients by their own sockets, and needs
neither the daemon nor the spawner to be alive. The overlay is mounted in a namespace of the
container's own, which the monitor keeps: the host does not see it.

Both sides:      orders (what is asked and answered), protocol (messages on a socket)
The daemon's:    monitors (Spawner, Monitor, adopt, read_exit), oci_runtime (which runtimes work
                 here; delete, pause, update), known_flaws (of old ones), bundle (config.json
                 on disk), reserved_paths and mount_targets (what may be mounted
                 where), frames (of attached output)
The monitor's:   spawner with rehearsal, pools and hints (shared memory, docs/adr/0501), run
                 from a sealed interpreter (sealed; docs/adr/0503), exec_host, monitor (a
                 process's life), loop (epoll), prepared (the runtime, waiting), descendants
                 (what may hold up a start, and its end), mounts (its namespace), stdio (pipes,
                 console), clients (attached ones), detach (the key sequence), log_format and
                 log_file, first_words (that may be the runtime's), launchers: launcher (an OCI
                 runtime's command line) or native_exec (without one) with joining (namespaces,
                 cgroups) and becoming (user, rights, filter, program), failures (error texts
                 in Docker's words), oom

Files of a bundle, <exec_root>/containers/<id>/ (an exec's directory has the same):
    config.json     for the runtime              monitor.sock    the monitor's control socket
    rootfs/         the overlay, in the monitor's namespace only
    pid             of the process               exit            JSON, once the process has ended
    runtime.log     the runtime's errors         monitor.err     a traceback, if the monitor failed
"""
