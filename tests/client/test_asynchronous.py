"""The client for asyncio: the same calls, and an event loop that goes on meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lossloop as ll
from lossloop.client import AsyncClient, Client
from tests.client.answering import Answering, Asked, Said, answering, nobody
from tests.client.taking import PATIENCE, Taking, rows, spool_files
from tests.client.test_client import CALLS


def calls(kind: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: inspect.signature(call)
        for name, call in found
        if not name.startswith("_") or name == "__init__"
    }


def test_it_has_the_same_calls_as_the_other() -> None:
    assert calls(AsyncClient) == calls(Client)
    assert all(
        inspect.iscoroutinefunction(getattr(AsyncClient, name))
        for name in calls(Client)
        if name != "__init__"
    )


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_a_call_is_one_request(call: Callable[[Any], Any], method: str, path: str, body: Any) -> None:
    async def work(server: Answering) -> Any:
        async with AsyncClient(server.url, token="ll_token", timeout=5) as client:
            return await call(client)

    with answering() as server:
        server.answer(200, b'{"answer": 42}')
        assert asyncio.run(work(server)) == {"answer": 42}
    (asked,) = server.asked
    assert (asked.method, asked.path) == (method, path)
    assert (json.loads(asked.body) if asked.body else None) == body


def test_decisions_are_a_list_and_refusals_are_raised() -> None:
    async def work(server: Answering) -> None:
        async with AsyncClient(server.url, token="t") as client:
            server.answer(200, b'{"decisions": [{"id": "m/0"}]}')
            assert await client.decisions("m") == [{"id": "m/0"}]
            server.answer(422, b'{"status": 422, "detail": "bad"}')
            with pytest.raises(ll.Refused, match="bad"):
                await client.health()

    with answering() as server:
        asyncio.run(work(server))


def test_many_requests_at_once_do_not_hold_up_the_loop() -> None:
    """All are at the server together, though none has been answered."""
    together = threading.Barrier(4)

    def decide(asked: Asked) -> Said:
        together.wait(PATIENCE)
        return Said(body=b'{"status":"ok"}')

    async def work(url: str) -> list[Any]:
        async with AsyncClient(url, token="t") as client:
            return await asyncio.gather(*(client.health() for _ in range(4)))

    with answering() as server:
        server.decide = decide
        assert asyncio.run(work(server.url)) == [{"status": "ok"}] * 4


@pytest.mark.parametrize("sync", [False, True])
def test_what_is_handed_over_arrives(server: Taking, tmp_path: Path, sync: bool) -> None:
    async def work() -> None:
        spool = ll.Spool(tmp_path, sync=sync)
        async with AsyncClient(server.url, token="ll_token", spool=spool, linger=0) as client:
            id = await client.send_prediction("m", version=1, y_pred=0.5)
            await client.send_outcome("m", id=id, y_true=1)
            assert await client.send_predictions("m", rows(3)) == ["a0", "a1", "a2"]
            await client.send_outcomes("m", [{"id": "a0", "y_true": None}])
            with pytest.raises(ll.InputError, match="prediction without 'version'"):
                await client.send_predictions("m", [{"y_pred": 1}])
            assert await client.flush(PATIENCE) == 0
            assert (await client.backlog()).sent == 6
        assert sorted(server.ids) == sorted([id, id, "a0", "a0", "a1", "a2"])

    asyncio.run(work())
    assert spool_files(tmp_path) == []


def test_leaving_flushes_and_closing_tells_what_is_left(tmp_path: Path) -> None:
    async def work() -> int:
        client = AsyncClient(nobody(), token="t", spool=tmp_path)
        await asyncio.gather(*(client.send_predictions("m", rows(1, n)) for n in range(50)))
        return await client.close(timeout=0.1)

    assert asyncio.run(work()) == 50


def test_one_who_waits_for_room_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def work() -> None:
        client = AsyncClient(nobody(), token="t", spool=ll.Spool(tmp_path, most_bytes=2000, wait=PATIENCE))
        waiting: Awaitable[Any] = asyncio.create_task(client.send_predictions("m", rows(100)))
        for _ in range(5):
            await asyncio.sleep(0)  # the loop goes on
        await client.close(0)
        with pytest.raises(ll.LossloopError, match="this client was closed"):
            await waiting

    asyncio.run(work())
