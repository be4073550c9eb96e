"""How a process is run."""
