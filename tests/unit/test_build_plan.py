"""Which stages are built, in what order they may be, and from what."""

import pytest

from pier.build.parser import DockerfileError, parse_dockerfile
from pier.build.plan import NoSuchTarget, Plan, PlanInputs, make_plan, read_program
from pier.oci.platform import Platform

AMD64 = Platform("linux", "amd64")


def plan(text: str, target: str = "", contexts: tuple[str, ...] = (), **arguments: str) -> Plan:
    inputs = PlanInputs(
        target=target,
        build_arguments=arguments,
        build_platform=AMD64,
        target_platform=AMD64,
        contexts=frozenset(contexts),
    )
    return make_plan(read_program(parse_dockerfile(text.encode())), inputs)


def needed(plan: Plan) -> list[int]:
    return [stage.index for stage in plan.stages]


def test_stages_nobody_needs_are_dropped() -> None:
    text = "FROM a AS x\nFROM b AS y\nFROM x AS z\nFROM c\nCOPY --from=z / /\n"
    assert needed(plan(text)) == [0, 2, 3]
    assert needed(plan(text, target="y")) == [1]
    assert needed(plan(text, target="2")) == [0, 2]


def test_a_stage_is_found_by_name_number_and_in_any_case() -> None:
    text = "FROM a AS Build\nFROM b\nCOPY --from=BUILD / /\nCOPY --from=0 / /\n"
    assert plan(text).stages[-1].needs == {0}


def test_a_mount_needs_its_stage() -> None:
    text = "FROM a AS x\nFROM b\nRUN --mount=from=x,target=/m true\n"
    assert needed(plan(text)) == [0, 1]


def test_a_base_is_a_stage_only_if_it_stands_above() -> None:
    made = plan("FROM busybox AS busybox\nFROM busybox\n")
    assert made.stages[0].base.image == "busybox"
    assert made.stages[1].base.stage == 0


def test_global_arguments_are_settled_in_order() -> None:
    text = "ARG A=1\nARG B=${A}.2\nFROM img:$B\n"
    assert plan(text).stages[0].base.image == "img:1.2"
    assert plan(text, A="7").stages[0].base.image == "img:7.2"
    assert plan("FROM --platform=$BUILDPLATFORM a\n").stages[0].platform == AMD64


def test_a_named_context_stands_in_for_a_stage_or_an_image() -> None:
    text = "FROM a AS x\nFROM alpine\nCOPY --from=x / /\n"
    made = plan(text, contexts=("x", "alpine"))
    assert needed(made) == [1]
    assert made.stages[0].base.context == "alpine"


def test_scratch_is_nothing() -> None:
    assert plan("FROM scratch\n").stages[0].scratch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x\nFROM a", "no build stage in current context"),
        ("ARG x=1\n", "no build stage in current context"),
        ("FROM $X\n", "dockerfile parse error on line 1: base name ($X) should not be blank"),
        (
            "FROM a\nCOPY --from=7 a b",
            "dockerfile parse error on line 2: invalid from flag value 7: no stage of that number",
        ),
        (
            "FROM a AS x\nCOPY --from=y / /\nFROM x AS y\n",
            "dockerfile parse error on line 3: circular dependency detected on stage: y",
        ),
        (
            "FROM --platform=ab x\n",
            "dockerfile parse error on line 1: failed to parse platform ab: "
            '"ab": unknown operating system or architecture: invalid argument',
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        plan(text)
    assert str(caught.value) == message


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(NoSuchTarget, match='target stage "nope" could not be found'):
        plan("FROM a", target="nope")
