"""Command lines run by Docker's own client, against dockerd once and against Pier always.

A *scenario* is a text file below `scenarios/`: steps, and what dockerd 28.5 answered to each. The
suite runs every step against a Pier daemon and compares exit code, output and errors.

    # A comment.
    - mkdir context                      preparation: must succeed, is not compared
    ? docker logs web | grep -q ready    waits until the command succeeds, is not compared
    $ docker rm nope                     a step; `> ` continues the line above it
      standard output
    ! standard error
    = 1                                  the exit code, unless it is 0
    ~ A reason why Pier answers otherwise on purpose.
    |   what Pier writes                 Pier's own result, in the same notation
    | = 1

A step is a line of `sh`, run in a directory of the scenario's own; files made there are how one
step hands something to the next. A difference without a reason fails the suite, and so does a
reason whose difference is gone: drift either way is seen. Every scenario begins with an engine
that has the image `busybox` and nothing else.

**Normalisation** (`normal.py`) takes out what differs between two runs of one engine, and no more:
IDs (`<container web>`, with `…` if they were cut short; those without a name are numbered within
their step), times, durations, assigned addresses and ports, paths of roots, versions, the size of
the image, and the width of a table's columns.

**Recording**: `python -m tests.parity --record --host unix:///…/docker.sock [TOPIC…]` writes the
answers of a dockerd 28.5 with the overlay2 graph driver, in namespaces of its own, whose /tmp is
this machine's. It removes everything that engine has. `python -m tests.parity [TOPIC…]` runs Pier,
shows what differs and the share of equal steps; with `--explain` it writes Pier's own results below
the reasons.

Modules: `scenario` (the text and its parts), `normal` (normalisation), `names` (who an ID is),
`engine` (an engine's API, as far as names and clearing go), `running` (runs a scenario),
`__main__` (records, shows), `test_parity` (the suite).
"""
