"""Made-up names for containers nobody named: an adjective and a computing pioneer."""

from collections.abc import Callable
from random import Random

_ADJECTIVES = tuple(
    """able agile amber ample apt arctic astute bold brave breezy bright brisk calm candid careful
    cheerful clear clever cosmic cozy crisp curious daring deft eager earnest easy elegant epic fair
    fearless festive fleet fluent fond frank fresh friendly gallant gentle gifted glad golden grand
    happy hardy hearty honest humble jolly jovial keen kind lively loyal lucid lucky mellow merry
    modest nimble noble patient placid polite proud quick quiet rapid ready robust serene sharp
    silent sincere sleek smart snug solid steady sturdy subtle sunny swift tidy tranquil upbeat
    vivid warm wise witty zesty""".split()
)
_SURNAMES = tuple(
    """allen antonelli babbage bachman backus bartik berners boole borg brooks cerf church clarke
    codd conway dahl dijkstra easley engelbart estrin feinler floyd goldberg goldstine granville
    hamilton hamming hoare holberton hopper jennings johnson kahn karp kay kernighan kleene knuth
    lamarr lamport liskov lovelace mccarthy meltzer milner minsky naur neumann newell nygaard perlis
    perlman postel rabin ritchie scott shannon shaw sutherland tanenbaum tarjan thompson torvalds
    turing vaughan wilkes wilkinson wirth yao zuse""".split()
)
TRIES = 6


def made_up_name(taken: Callable[[str], bool], fallback: str, random: Random) -> str:
    """A free name; after TRIES taken ones, `fallback` (the short ID)."""
    for _ in range(TRIES):
        name = f"{random.choice(_ADJECTIVES)}_{random.choice(_SURNAMES)}"
        if not taken(name):
            return name
    return fallback
