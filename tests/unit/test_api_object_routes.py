"""The routes of images, networks and volumes, and of the room they take."""

import json

from pier.containers.spec import EndpointSpec
from tests.unit.api_client import Client, Run
from tests.unit.fake_containers import IMAGE, WEB


def test_images_are_listed_shown_and_named(run: Run) -> None:
    async def test(client: Client) -> None:
        first, _ = (await client.get("/images/json")).json
        assert (first["Id"], first["RepoTags"]) == (IMAGE, ["busybox:latest"])
        assert first["Containers"] == 3
        old = (await client.get("/v1.41/images/json")).json
        assert (old[1]["RepoTags"], old[0]["VirtualSize"]) == (["<none>:<none>"], 1234)
        named = 'filters={"reference":["busy*"]}'
        assert len((await client.get(f"/images/json?{named}")).json) == 1
        dangling = 'filters={"dangling":["true"]}'
        assert len((await client.get(f"/images/json?{dangling}")).json) == 1
        assert (await client.get("/images/busybox/history")).json[0]["Tags"] is None
        tagged = await client.ask("POST", "/images/busybox/tag?repo=a/b&tag=c")
        assert tagged.status == 201
        assert client.engine.images.tagged == [("busybox", "a/b:c")]
        removed = (await client.ask("DELETE", "/images/busybox")).json
        assert removed == [{"Untagged": "busybox:latest"}, {"Deleted": IMAGE}]
        saved = await client.get("/images/get?names=busybox&names=busybox:latest")
        assert saved.body == b"busybox,busybox:latest"
        loaded = await client.ask("POST", "/images/load", b"12345")
        assert json.loads(loaded.body) == {"stream": "Loaded 5\n"}

    run(test)


def test_a_pull_streams_its_steps_and_fails_in_two_ways(run: Run) -> None:
    async def test(client: Client) -> None:
        good = await client.ask("POST", "/images/create?fromImage=busybox&tag=1")
        lines = good.body.split(b"\r\n")
        assert json.loads(lines[0])["status"] == "Pulling from busybox:1"
        assert good.headers["Transfer-Encoding"] == "chunked"
        before = await client.ask("POST", "/images/create?fromImage=nope&tag=1")
        assert before.status == 404
        after = await client.ask("POST", "/images/create?fromImage=breaks&tag=1")
        assert after.status == 200
        last = json.loads(after.body.split(b"\r\n")[-2])
        assert last["errorDetail"] == {"message": "gone in the middle"}

    run(test)


def test_networks_show_their_containers_only_when_inspected(run: Run) -> None:
    async def test(client: Client) -> None:
        listed = (await client.get('/networks?filters={"name":["bri"]}')).json
        assert [item["Name"] for item in listed] == ["bridge"]
        assert listed[0]["Containers"] == {}
        bridge = (await client.get("/networks/bridge")).json
        assert bridge["Containers"][WEB]["IPv4Address"] == "172.17.0.2/16"
        assert bridge["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
        custom = (await client.get('/networks?filters={"type":["custom"]}')).json
        assert [item["Name"] for item in custom] == ["own"]
        config = {"Config": [{"Subnet": "10.1.0.0/16"}]}
        made = await client.ask("POST", "/networks/create", {"Name": "n", "IPAM": config})
        assert (made.status, made.json) == (201, {"Id": "7" * 64, "Warning": ""})
        assert client.engine.networks.created is not None
        assert client.engine.networks.created.chosen_subnet
        endpoint = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.1.0.9"}}
        body = {"Container": "web", "EndpointConfig": endpoint}
        assert (await client.ask("POST", "/networks/own/connect", body)).status == 200
        spec = EndpointSpec(ipv4="10.1.0.9", aliases=("db",))
        assert client.engine.containers.calls == [("connect", "own", "web", spec)]
        pruned = await client.ask("POST", '/networks/prune?filters={"label":["x=y"]}')
        assert pruned.json == {"NetworksDeleted": ["own"]}

    run(test)


def test_volumes_are_listed_made_and_pruned(run: Run) -> None:
    async def test(client: Client) -> None:
        dangling = (await client.get('/volumes?filters={"dangling":["true"]}')).json
        assert [item["Name"] for item in dangling["Volumes"]] == ["loose"]
        data = (await client.get("/volumes/data")).json
        assert (data["CreatedAt"], data["Scope"]) == ("2023-11-14T22:13:20Z", "local")
        made = await client.ask("POST", "/volumes/create", {"Name": "n"})
        assert (made.status, made.json["Name"]) == (201, "n")
        for query, deleted in (("", []), ('?filters={"all":["1"]}', ["loose"])):
            pruned = await client.ask("POST", f"/volumes/prune{query}")
            assert pruned.json["VolumesDeleted"] == deleted
        old = await client.ask("POST", "/v1.41/volumes/prune")
        assert old.json["VolumesDeleted"] == ["loose"]

    run(test)


def test_what_is_removed_while_sizes_are_counted_is_left_out(run: Run) -> None:
    async def test(client: Client) -> None:
        job = next(record for record in client.engine.containers.records if record.name == "job")
        client.engine.containers.vanished.add(job.id)
        client.engine.volumes.vanished.add("loose")
        shown = (await client.get("/containers/json?all=1&size=1")).json
        assert [row["Names"] for row in shown] == [["/new"], ["/web"]]
        usage = (await client.get("/system/df")).json
        assert [row["Names"] for row in usage["Containers"]] == [["/new"], ["/web"]]
        assert [row["Name"] for row in usage["Volumes"]] == ["data"]

    run(test)


def test_disk_usage_is_listed_by_kind(run: Run) -> None:
    async def test(client: Client) -> None:
        usage = (await client.get("/system/df")).json
        assert set(usage) == {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
        assert usage["LayersSize"] == 1234
        assert usage["Volumes"][0]["UsageData"] == {"Size": 11, "RefCount": 1}
        assert {row["SizeRw"] for row in usage["Containers"]} == {100}
        assert set((await client.get("/system/df?type=volume")).json) == {"Volumes"}

    run(test)
