"""What Pier relies on in the template engine: Go's semantics on the API's JSON."""

import pytest

from pier.cli.faults import Fault
from pier.cli.templates import render, render_message, render_object, render_paths

DATA = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 12345678},
    "Id": "0123",
    "Config": {"Env": ["A=1", "B=<2>"], "Labels": {"b": "1", "a": "2"}, "Cmd": None,
               "Volumes": None, "ExposedPorts": {"80/tcp": {}}},
    "HostConfig": {"PidsLimit": None, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
                   "LogConfig": {"Type": "json-file", "Config": {"a": "b"}}},
    "Mounts": [{"Type": "bind", "Source": "/s", "Destination": "/d", "Mode": "", "RW": True,
                "Propagation": "rprivate"}],
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": None},
        "Networks": {"n2": {"IPAddress": "10.0.0.2"}, "n1": {"IPAddress": "10.0.0.1"}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web"),
        ("{{.State.Running}} {{.State.Pid}}", "true 12345678"),
        ("{{.Config.Env}}", "[A=1 B=<2>]"),
        ("{{.Config.Labels}}", "map[a:2 b:1]"),
        ("{{json .Config.Labels}}", '{"a":"2","b":"1"}'),
        ("{{json .Config.Env}}", '["A=1","B=<2>"]'),
        ("{{json .State}}", '{"Running":true,"Pid":12345678}'),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=<2>\n"),
        (
            "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}",
            "n1=10.0.0.1 n2=10.0.0.2 ",
        ),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .Config.Labels "a"}}', "2"),
        ('{{if eq .Name "/web"}}yes{{else}}no{{end}}', "yes"),
        ("{{len .Config.Env}}", "2"),
        ('{{join .Config.Env ","}}', "A=1,B=<2>"),
        ('{{slice .Name 1}} {{printf "%q %5d" .Name 7}}', 'web "/web"     7'),
        ('{{with .Config}}{{index .Env 0}}{{end}} {{not true}} {{or "" "x"}}', "A=1 false x"),
        ('{{upper "a"}}{{lower "B"}}{{title "cd"}}', "AbCd"),
        ('{{truncate "abcdef" 3}}{{pad "x" 1 2}}', "abc x  "),
        ('{{range split "a,b" ","}}{{.}};{{end}}', "a;b;"),
        ("{{.Config.Cmd}} {{json .Config.Cmd}}{{with .Config.Cmd}}x{{end}}", "[] null"),
        ('{{.Name}}{{"\\n"}}', "/web\n"),
        ('{{title "ab c-d EF g1h it_s"}}', "Ab C-D EF G1h It_s"),
        ('{{range split "ab" ""}}{{.}};{{end}}', "a;b;"),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ('{{index .Config.Labels "nope"}}|', "|"),
        ("{{.HostConfig.Init}} {{.HostConfig.PidsLimit}} {{json .HostConfig.Init}}",
         "<nil> <nil> null"),
        ("{{.ID}} {{.SizeRw}}", "0123 <nil>"),
        ("{{.Mounts}}", "[{bind  /s /d   true rprivate}]"),
        ("{{json .Mounts}}", '[{"Type":"bind","Source":"/s","Destination":"/d","Mode":"",'
         '"RW":true,"Propagation":"rprivate"}]'),
        ("{{range .Mounts}}{{.Source}}:{{.RW}}{{end}}", "/s:true"),
        ("{{.NetworkSettings.Ports}}", "map[443/tcp:[] 80/tcp:[{ 8080}]]"),
        ("{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}",
         "{always 0} {json-file map[a:b]}"),
        ("{{.Config.Volumes}} {{.Config.ExposedPorts}}", "map[] map[80/tcp:{}]"),
    ],
)  # fmt: skip
def test_templates_have_gos_meaning(template: str, text: str) -> None:
    assert render_object(template, DATA) == text


@pytest.mark.parametrize(
    ("template", "message", "code"),
    [
        ("{{.Nope}}", "map has no entry for key \"Nope\"", 1),
        ("{{.X", "template parsing error: template: :1: unclosed action", 64),
        ("{{.X | foo}}", 'template parsing error: template: :1: function "foo" not defined', 64),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_go_tells_it(template: str, message: str, code: int) -> None:
    with pytest.raises(Fault) as caught:
        render_object(template, DATA)
    assert message in caught.value.text
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}} is {{ .State.Running }}", "/web is true"),
        ("{{json .State}}", '{"Running":true,"Pid":12345678}'),
        ("{{.Config.Env}}", None),
        ("{{.Nope}}", None),
        ("{{.Name", None),
        ("{{- .Name}}", None),
        ("{{.Name | upper}}", None),
        ("{{/* note */}}", None),
    ],
)
def test_paths_alone_need_no_engine(template: str, text: str | None) -> None:
    assert render_paths(template, DATA) == text


def test_lists_fail_with_their_own_words() -> None:
    with pytest.raises(Fault) as caught:
        render("{{.X", {})
    assert caught.value.text == "failed to parse template: template: :1: unclosed action"


def test_an_event_lacks_an_attribute_without_failing() -> None:
    event = {"Type": "volume", "Actor": {"Attributes": {"driver": "local"}}}
    template = "{{.Type}} {{.Actor.Attributes.driver}} {{.Actor.Attributes.name}}"
    assert render_message(template, event) == "volume local <no value>"
