"""Compares Pier with dockerd and podman, in one run on one machine."""
