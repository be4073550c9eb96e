"""The daemon process: from its command line to its last breath.

flags       dockerd's options become settings
listeners   unix sockets, TCP with TLS, sockets systemd opened for us
process     lock, engine, HTTP, signals; serve until told to stop
housekeeping  memory given back after work
systemd     readiness and socket activation, sd_notify(3) and sd_listen_fds(3)
"""
