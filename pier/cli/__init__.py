"""The command line: a client like any other, with Docker's grammar and Docker's output.

It talks to a daemon over the Engine API and to nothing else: the same program works against any
Docker-compatible daemon. `pier ps` is typed by people and called in loops by scripts, so every
import is paid for hundreds of times a day. Hence three house rules which differ from the rest of
Pier: a command's module is imported when the command is named; heavy standard modules (`json`,
`re`, `socket`, `typing`, `dataclasses`, `http`) are imported inside the function that needs
them; and type-only imports stand under `TYPE_CHECKING`, a constant here rather than `typing`'s.

Words: a *command* is one verb with its *flags*; *options* are the flags' values in one
invocation; a *session* is one run of the program: its configuration, its endpoint, its client.

- `main` reads the global flags, finds the command (`index`), parses (`parsing`), runs, reports
- `command`, `faults`, `usage`: what a command is, how it fails, how its help looks
- `endpoint`, `transport`, `client`: where the daemon is, bytes to it, the API on top
- `settings_file`, `credentials`, `contexts`: ~/.docker, shared with Docker's own client
- `output`, `templates`, `units`, `gotime`, `progress`: how answers look
- `terminal`, `streams`: raw mode, hijacked connections
- `values/`: the little languages inside flags (`-p`, `--mount`, `--network`, ...), pure
- `commands/`: the commands
"""
