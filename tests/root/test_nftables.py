"""pier.linux.nftables against the real kernel."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from pier.linux.nftables import Nftables, NftError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TABLE = "ptst-nft"
TEXT = f"table inet {TABLE} {{ map m {{ type inet_service : ipv4_addr; }}; }}"


def with_table(work: Callable[[Nftables], Awaitable[None]]) -> None:
    async def body() -> None:
        nft = Nftables()
        try:
            await nft.apply_script(TEXT)
            await work(nft)
        finally:
            await nft.apply([f"table inet {TABLE}", f"delete table inet {TABLE}"])
            await nft.close()

    asyncio.run(body())


def add(port: int) -> str:
    return f"add element inet {TABLE} m {{ {port} : 10.213.0.{port} }}"


def test_a_change_is_all_or_nothing() -> None:
    async def work(nft: Nftables) -> None:
        await nft.apply([add(1), add(2)])
        with pytest.raises(NftError, match="No such file"):
            await nft.apply([add(3), f"delete element inet {TABLE} m {{ 9 : 10.213.0.9 }}"])
        listed = await nft.list_json("table", "inet", TABLE)
        assert b"10.213.0.2" in listed
        assert b"10.213.0.3" not in listed

    with_table(work)


def test_the_child_may_die_at_any_time() -> None:
    async def work(nft: Nftables) -> None:
        for port in (1, 3):
            await nft.apply([add(port)])
            child = nft._child
            assert child is not None
            os.kill(child.pid, signal.SIGKILL)
            await nft.apply([add(port + 1)])
        listed = await nft.list_json("table", "inet", TABLE)
        assert all(f"10.213.0.{port}".encode() in listed for port in (1, 2, 3, 4))

    with_table(work)


def test_a_long_script_and_a_missing_table() -> None:
    async def work(nft: Nftables) -> None:
        await nft.apply(
            [f"add element inet {TABLE} m {{ {p} : 10.213.0.1 }}" for p in range(1, 900)]
        )
        assert b"899" in await nft.list_json("table", "inet", TABLE)
        with pytest.raises(NftError):
            await nft.list_json("table", "inet", "ptst-none")

    with_table(work)
