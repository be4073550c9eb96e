import pytest

from pier.cli.command import Command, Flag, complaint
from pier.cli.faults import UsageFault
from pier.cli.index import ALIASES, GROUPS, PLAIN, TOP, find_group_command, find_top_command
from pier.cli.parsing import HelpWanted, parse
from pier.cli.usage import command_help

FLAGS = (
    Flag("interactive,i"),
    Flag("tty,t"),
    Flag("detach,d"),
    Flag("rm"),
    Flag("sig-proxy", "bool", "", True),
    Flag("publish,p", "list"),
    Flag("name", "string"),
    Flag("cpus", "decimal"),
    Flag("memory,m", "bytes"),
    Flag("alias", "strings"),
    Flag("last,n", "int", "", -1),
)


@pytest.mark.parametrize(
    ("words", "values", "arguments"),
    [
        ("-itd x", {"interactive": True, "tty": True, "detach": True}, ["x"]),
        ("-p80:80 -p=81:81 -p 82 x", {"publish": ["80:80", "81:81", "82"]}, ["x"]),
        ("-itp 80 x", {"tty": True, "publish": ["80"]}, ["x"]),
        ("--rm=false --sig-proxy=0 x", {"rm": False, "sig-proxy": False}, ["x"]),
        ("--rm false", {"rm": True}, ["false"]),
        ("--name=a=b x", {"name": "a=b"}, ["x"]),
        ("--name -x y", {"name": "-x"}, ["y"]),
        ("x --rm -i", {"rm": False, "interactive": False}, ["x", "--rm", "-i"]),
        ("--rm -- --name", {"rm": True, "name": ""}, ["--name"]),
        ("-- -i", {"interactive": False}, ["-i"]),
        ("-", {}, ["-"]),
        ("-n5", {"last": 5}, []),
        ("--cpus 1.5 -m 1g", {"cpus": 1_500_000_000, "memory": 1 << 30}, []),
        ('--alias a,b --alias "c"', {"alias": ["a", "b", "c"]}, []),
    ],
)
def test_flags_are_read_as_pflag_reads_them(
    words: str, values: dict[str, object], arguments: list[str]
) -> None:
    parsed = parse(words.split(), FLAGS, interspersed=False)
    assert parsed.arguments == arguments
    assert {key: parsed.options.values[key] for key in values} == values


def test_an_interspersed_command_takes_flags_after_its_arguments() -> None:
    parsed = parse(["x", "--rm", "y"], FLAGS, interspersed=True)
    assert parsed.arguments == ["x", "y"]
    assert parsed.options.on("rm")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--nope", "unknown flag: --nope"),
        ("-z", "unknown shorthand flag: 'z' in -z"),
        ("-iz", "unknown shorthand flag: 'z' in -z"),
        ("--name", "flag needs an argument: --name"),
        ("-p", "flag needs an argument: 'p' in -p"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--rm=maybe",
            'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe":'
            " invalid syntax",
        ),
        ("-m x", 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
    ],
)
def test_a_wrong_command_line_is_told_in_dockers_words(words: str, message: str) -> None:
    with pytest.raises(UsageFault) as caught:
        parse(words.split(), FLAGS, interspersed=True)
    assert caught.value.text == message
    assert caught.value.code == 125


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_asked_for(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse([word], FLAGS, interspersed=True)


@pytest.mark.parametrize(
    ("arguments", "count", "message"),
    [
        ((0, 0), 1, "'p x' accepts no arguments"),
        ((1, -1), 0, "'p x' requires at least 1 argument"),
        ((2, -1), 1, "'p x' requires at least 2 arguments"),
        ((2, 2), 1, "'p x' requires 2 arguments"),
        ((1, 1), 2, "'p x' requires 1 argument"),
        ((0, 1), 2, "'p x' requires at most 1 argument"),
        ((1, 2), 3, "'p x' requires at least 1 and at most 2 arguments"),
        ((1, 2), 2, ""),
        ((0, -1), 9, ""),
    ],
)
def test_the_number_of_arguments_is_checked(
    arguments: tuple[int, int], count: int, message: str
) -> None:
    command = Command(lambda *_: None, "", "", arguments)
    assert complaint(command, "p x", count) == message


def test_every_command_of_the_index_exists_and_has_help() -> None:
    commands = [(f"{g} {v}", find_group_command(g, v)) for g in GROUPS for v in GROUPS[g]]
    commands += [(name, find_top_command(name)) for name in [*TOP, *PLAIN]]
    for name, command in commands:
        assert command is not None, name
        text = command_help(command, f"pier {name}")
        assert text.startswith(f"Usage:  pier {name}")
        assert max(len(flag.text) for flag in command.flags or (Flag("x"),)) < 120
    assert all(alias[0] in GROUPS and verb in GROUPS[alias[0]] for alias, verb in ALIASES.items())


def test_no_command_has_a_flag_twice() -> None:
    for group, verbs in GROUPS.items():
        for verb in verbs:
            command = find_group_command(group, verb)
            assert command is not None
            names = [flag.name for flag in command.flags]
            shorts = [flag.short for flag in command.flags if flag.short]
            assert len(names) == len(set(names)), (group, verb)
            assert len(shorts) == len(set(shorts)), (group, verb)
