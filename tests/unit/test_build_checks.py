"""Build checks: each rule by a Dockerfile that breaks it and one that does not."""

import time

import pytest

from pier.build.checks import RULES, BadCheck, CheckOptions, Finding, parse_check, report
from pier.build.ignore import IgnoreRules
from pier.build.lint import lint
from pier.build.lint_stages import Surroundings, lint_stages
from pier.build.parser import parse_dockerfile
from pier.build.plan import PlanInputs, make_plan, read_program
from pier.oci.image import RunConfig
from pier.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
BASE = RunConfig(env=("PATH=/bin", "HOME_OF=/base"))


def findings(text: str, **arguments: str) -> list[Finding]:
    dockerfile = parse_dockerfile(text.encode())
    program = read_program(dockerfile)
    inputs = PlanInputs(build_arguments=arguments, build_platform=AMD64, target_platform=AMD64)
    plan = make_plan(program, inputs)
    around = Surroundings(
        bases={stage.index: BASE for stage in plan.stages if stage.base.image == "base"},
        ignored=IgnoreRules(["secret", "*.log"]),
        given=arguments,
    )
    found = [*lint(dockerfile, program, inputs), *lint_stages(plan, around)]
    return sorted(found, key=lambda finding: finding.line)


BROKEN = [
    ("FROM a AS Build\n", "StageNameCasing", 1, "Stage name 'Build' should be lowercase"),
    ("FROM a as b\n", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("from a AS b\n", "FromAsCasing", 1, "'AS' and 'from' keywords' casing do not match"),
    ("FROM a\nRUN x \\\n\n  y\n", "NoEmptyContinuation", 3, "Empty continuation line"),
    ("FROM a\nrun x\nRUN y\n", "ConsistentInstructionCasing", 2,
     "Command 'run' should match the case of the command majority (uppercase)"),
    ("from a\nRUN x\nrun y\n", "ConsistentInstructionCasing", 2,
     "Command 'RUN' should match the case of the command majority (lowercase)"),
    ("FROM a\nRun x\n", "ConsistentInstructionCasing", 2,
     "Command 'Run' should match the case of the command majority (uppercase)"),
    ("FROM a AS b\nFROM c AS b\n", "DuplicateStageName", 2,
     'Duplicate stage name "b", stage names should be unique'),
    ("FROM a AS scratch\n", "ReservedStageName", 1,
     'Stage name should not use the same name as reserved stage "scratch"'),
    ("FROM a AS context\n", "ReservedStageName", 1,
     'Stage name should not use the same name as reserved stage "context"'),
    ("FROM a\nCMD x\n", "JSONArgsRecommended", 2,
     "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals"),
    ("FROM a\nENTRYPOINT x\n", "JSONArgsRecommended", 2,
     "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS "
     "signals"),
    ("FROM a\nMAINTAINER x\n", "MaintainerDeprecated", 2,
     "Maintainer instruction is deprecated in favor of using label"),
    ("FROM a${NONE}\n", "UndefinedArgInFrom", 1, "FROM argument 'NONE' is not declared"),
    ("ARG VERSION=1\nFROM a:${VERSIO:-1}${VERSON}\n", "UndefinedArgInFrom", 2,
     "FROM argument 'VERSON' is not declared (did you mean VERSION?)"),
    ("FROM a\nWORKDIR x\n", "WorkdirRelativePath", 2,
     'Relative workdir "x" can have unexpected results if the base image changes'),
    ("FROM base\nCOPY $none /x\n", "UndefinedVar", 2, "Usage of undefined variable '$none'"),
    ("FROM base\nENV PATH=/opt:$PAHT\n", "UndefinedVar", 2,
     "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
    ("ARG G=1\nFROM base\nLABEL a=$G\n", "UndefinedVar", 3,
     "Usage of undefined variable '$G'"),
    ('FROM a\nCMD ["x"]\nCMD ["y"]\n', "MultipleInstructionsDisallowed", 2,
     "Multiple CMD instructions should not be used in the same stage because only the last one "
     "will be used"),
    ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n", "MultipleInstructionsDisallowed", 2,
     "Multiple HEALTHCHECK instructions should not be used in the same stage because only the "
     "last one will be used"),
    ("FROM a\nENV x y\n", "LegacyKeyValueFormat", 2,
     '"ENV key=value" should be used instead of legacy "ENV key value" format'),
    ("FROM a\nLABEL x y=z\n", "LegacyKeyValueFormat", 2,
     '"LABEL key=value" should be used instead of legacy "LABEL key value" format'),
    ("FROM --platform=$TARGETPLATFORM a\n", "RedundantTargetPlatform", 1,
     "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
     "behavior"),
    ("FROM a\nARG DB_PASSWORD\n", "SecretsUsedInArgOrEnv", 2,
     'Do not use ARG or ENV instructions for sensitive data (ARG "DB_PASSWORD")'),
    ("FROM a\nENV token=1\n", "SecretsUsedInArgOrEnv", 2,
     'Do not use ARG or ENV instructions for sensitive data (ENV "token")'),
    ("ARG V\nFROM a:$V\n", "InvalidDefaultArgInFrom", 2,
     "Default value for ARG a:$V results in empty or invalid base image name"),
    ("FROM --platform=linux/arm64 a\n", "FromPlatformFlagConstDisallowed", 1,
     'FROM --platform flag should not use constant value "linux/arm64"'),
    ("FROM a\nCOPY x secret /\n", "CopyIgnoredFile", 2,
     'Attempting to Copy file "secret" that is excluded by .dockerignore'),
    ("FROM a\nADD d/../x.log /\n", "CopyIgnoredFile", 2,
     'Attempting to Add file "d/../x.log" that is excluded by .dockerignore'),
    ("FROM a\n# about it\nARG x=1\n", "InvalidDefinitionDescription", 3,
     "Comment for ARG should follow the format: `# x <description>`"),
    ("# about it\nFROM a AS b\n", "InvalidDefinitionDescription", 2,
     "Comment for FROM should follow the format: `# b <description>`"),
    ("FROM a\nEXPOSE 80/TcP\n", "ExposeProtoCasing", 2,
     "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"),
    ("FROM a\nEXPOSE 127.0.0.1:80:80\n", "ExposeInvalidFormat", 2,
     "EXPOSE instruction should not define an IP address or host-port mapping, found "
     "'127.0.0.1:80:80'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "line", "detail"), BROKEN)
def test_a_broken_rule_is_found(text: str, rule: str, line: int, detail: str) -> None:
    arguments = {"V": "1"} if "$V" in text else {}
    found = [(each.rule, each.line, each.detail) for each in findings(text, **arguments)]
    assert found == [(rule, line, detail)]


def test_every_rule_that_can_find_something_has_its_case() -> None:
    assert {rule for _, rule, _, _ in BROKEN} == RULES.keys() - {"InvalidBaseImagePlatform"}


@pytest.mark.parametrize(
    "text",
    [
        "# syntax=docker/dockerfile:1\nFROM base AS b\n",
        "from base as b\nrun x\n",
        'FROM base\nSHELL ["/bin/bash", "-c"]\nCMD x\nENTRYPOINT y\n',
        "FROM base\nWORKDIR /a\nWORKDIR b\n",
        "FROM base AS one\nWORKDIR /a\nFROM one\nWORKDIR b\n",
        "FROM base\nARG a=1 b=$a\n",
        "FROM base\nARG a\nCOPY $a $HOME_OF ${none:-x} ${none+x} /\n",
        "FROM elsewhere\nCOPY $unknown /\n",
        "FROM base\nRUN echo $HOME\nCMD []\n",
        "FROM base\nENV PUBLIC_KEY=1 KEYBOARD=2 TOKENS=3\n",
        "ARG V=1\nFROM a:${V}\n",
        "FROM --platform=$BUILDPLATFORM a\n",
        "FROM --platform=linux/arm64 a AS for-arm64\n",
        'FROM base AS one\nCMD ["x"]\nFROM one\nCMD ["y"]\n',
        "FROM a\n# x is for this\nARG x=1\n# of nothing\n\nARG y\n",
        "FROM a AS one\nFROM b\nCOPY --from=one secret /\nEXPOSE 80/udp $P/$Q\n",
    ],
)
def test_what_is_in_order_is_not_found(text: str) -> None:
    assert findings(text) == []


def test_the_check_directive() -> None:
    options = parse_check(" skip=StageNameCasing, FromAsCasing; error = true ")
    assert options == CheckOptions(frozenset({"StageNameCasing", "FromAsCasing"}), error=True)
    assert not options.wants("StageNameCasing")
    assert options.wants("UndefinedVar")
    assert not options.wants("CopyIgnoredFile")
    assert parse_check("experimental=CopyIgnoredFile").wants("CopyIgnoredFile")
    assert parse_check("experimental=all").wants("InvalidDefinitionDescription")
    assert not parse_check("skip=all").wants("UndefinedVar")
    assert parse_check("") == CheckOptions()


@pytest.mark.parametrize("text", ["skip", "nothing=x", "error=maybe"])
def test_a_directive_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadCheck, match="invalid check option"):
        parse_check(text)


def test_findings_are_shown_with_their_lines() -> None:
    finding = Finding("JSONArgsRecommended", "the detail", 3, 4)
    lines = ["FROM a", "", "CMD x \\", "  y", "EXPOSE 1", "LABEL a=b", "USER c"]
    assert finding.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert report([finding], "Dockerfile", lines) == (
        "Check complete, 1 warning has been found!\n\n"
        "WARNING: JSONArgsRecommended - "
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "the detail\nDockerfile:3\n--------------------\n"
        "   1 |     FROM a\n   2 |\n   3 | >>> CMD x \\\n   4 | >>>   y\n"
        "   5 |     EXPOSE 1\n   6 |     LABEL a=b\n--------------------\n"
    )
    assert report([finding, finding], "D", lines).startswith("Check complete, 2 warnings have")
    assert report([], "D", lines) == "Check complete, no warnings found.\n"


def test_very_many_mistakes_take_little_time() -> None:
    """80 KB of unknown names: guessing what each may have meant would take minutes."""
    text = "FROM base\n" + "".join(f"LABEL a=$undefined_{number}\n" for number in range(3000))
    begin = time.monotonic()
    found = findings(text)
    assert time.monotonic() - begin < 20
    assert len(found) == 3000
