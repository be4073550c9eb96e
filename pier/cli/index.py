"""The command tree: which module holds which command. Nothing is imported until it is named."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Command

CONTAINER = {
    "attach": "attach",
    "commit": "commit",
    "cp": "cp",
    "create": "run",
    "diff": "look",
    "exec": "exec",
    "export": "archives",
    "inspect": "inspect",
    "kill": "lifecycle",
    "logs": "logs",
    "ls": "ps",
    "pause": "lifecycle",
    "port": "look",
    "prune": "prune",
    "rename": "lifecycle",
    "restart": "lifecycle",
    "rm": "lifecycle",
    "run": "run",
    "start": "start",
    "stats": "stats",
    "stop": "lifecycle",
    "top": "look",
    "unpause": "lifecycle",
    "update": "update",
    "wait": "lifecycle",
}
IMAGE = {
    "build": "build",
    "history": "history",
    "import": "archives",
    "inspect": "inspect",
    "load": "archives",
    "ls": "images",
    "prune": "prune",
    "pull": "pull",
    "push": "pull",
    "rm": "rmi",
    "save": "archives",
    "tag": "rmi",
}
GROUPS: dict[str, dict[str, str]] = {
    "builder": {"build": "build", "prune": "prune"},
    "container": CONTAINER,
    "context": dict.fromkeys(
        ("create", "export", "import", "inspect", "ls", "rm", "show", "update", "use"), "context"
    ),
    "image": IMAGE,
    "manifest": {"inspect": "manifest"},
    "network": {
        "connect": "network",
        "create": "network",
        "disconnect": "network",
        "inspect": "inspect",
        "ls": "networks",
        "prune": "prune",
        "rm": "network",
    },
    "system": {
        "df": "df",
        "dial-stdio": "dial",
        "events": "events",
        "info": "info",
        "prune": "prune",
    },
    "volume": {
        "create": "volume",
        "inspect": "inspect",
        "ls": "volume",
        "prune": "prune",
        "rm": "volume",
    },
}
ABOUT = {
    "builder": "Manage the build cache and builds",
    "container": "Manage containers",
    "context": "Manage contexts: named daemons",
    "image": "Manage images",
    "manifest": "Look at manifests in registries",
    "network": "Manage networks",
    "system": "Manage Pier",
    "volume": "Manage volumes",
}
TOP: dict[str, str] = {
    **{name: f"container {name}" for name in CONTAINER if name not in ("ls", "prune", "inspect")},
    **{name: f"image {name}" for name in IMAGE if name not in ("ls", "prune", "inspect", "rm")},
    "ps": "container ls",
    "images": "image ls",
    "rmi": "image rm",
    "events": "system events",
    "info": "system info",
}
"""Top-level commands that are another name of a grouped one."""
PLAIN = {
    "inspect": "inspect",
    "login": "login",
    "logout": "login",
    "search": "search",
    "version": "version",
}
"""Top-level commands that belong to no group."""
COMMON = (
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search",
    "version", "info",
)  # fmt: skip
ALIASES = {
    ("container", "list"): "ls",
    ("container", "ps"): "ls",
    ("container", "remove"): "rm",
    ("image", "list"): "ls",
    ("image", "remove"): "rm",
    ("network", "list"): "ls",
    ("network", "remove"): "rm",
    ("volume", "list"): "ls",
    ("volume", "remove"): "rm",
    ("context", "list"): "ls",
    ("context", "remove"): "rm",
}
UNSUPPORTED = frozenset(
    ("swarm", "service", "node", "stack", "secret", "config", "plugin", "trust", "checkpoint")
)
HIDDEN = frozenset((("system", "dial-stdio"),))


def find_group_command(group: str, verb: str) -> Command | None:
    """Return the command `group verb`, importing its module."""
    verb = ALIASES.get((group, verb), verb)
    module = GROUPS[group].get(verb)
    return _load(module, f"{group} {verb}") if module else None


def find_top_command(name: str) -> Command | None:
    if name in TOP:
        group, _, verb = TOP[name].partition(" ")
        return find_group_command(group, verb)
    return _load(PLAIN[name], name) if name in PLAIN else None


def _load(module: str, key: str) -> Command:
    # `__import__` is what `import` runs; `importlib` would be one more import.
    loaded = __import__(f"pier.cli.commands.{module}", fromlist=["COMMANDS"])
    command: Command = loaded.COMMANDS[key]
    return command
