"""A caller that ends by itself: it stops with a window, or breaks off."""

import asyncio
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from clients.caller import Caller, Shared
from clients.connect import Access
from clients.load import Load
from clients.tally import Tally
from clients.ticker import Ticker
from tests.clients.scripts import hear_start, say
from tests.fakes import started, summary_of

Stub = Callable[..., str]
FRAME = 640  # bytes of 20 ms
LOAD = Load(streams=1, seconds=1, hop_s=0.25)


async def called(url: str, *, seconds: float, breaks: bool, ending: bool = False) -> Tally:
    """What was counted of one call; `ending` is whether the load ends after its first frames."""
    shared = Shared(
        access=Access(url), call=LOAD.call(), hop_s=0.25, ticker=Ticker(0.02), tally=Tally()
    )
    shared.ticker.start()
    caller = Caller(shared, LOAD.start("call"), 0.0, seconds=seconds, breaks=breaks)
    try:
        async with asyncio.timeout(20):
            shared.ending = ending
            await caller.call()
    finally:
        shared.ticker.stop()
    assert shared.tally.running == 0 and shared.tally.started == 1
    return shared.tally


def hearing(heard: list[bytes | str]) -> Callable[[ServerConnection], object]:
    async def handler(connection: ServerConnection) -> None:
        await hear_start(connection)
        await say(connection, started())
        try:
            async for message in connection:
                heard.append(message)
                if isinstance(message, str):
                    await say(connection, summary_of(audio_s=1))
        except ConnectionClosed:
            heard.append("broke off")

    return handler


async def test_it_stops_with_the_window_that_follows_its_last_second(stub: Stub) -> None:
    heard: list[bytes | str] = []
    tally = await called(stub(hearing(heard)), seconds=1.1, breaks=False)
    assert '"stop"' in str(heard[-1])
    assert (
        sum(len(m) for m in heard if isinstance(m, bytes)) == FRAME * 63
    )  # 1.25 s and what is over
    assert (tally.disconnected, tally.broken_off) == (0, 0)


async def test_breaking_off_is_counted_and_is_no_loss(stub: Stub) -> None:
    heard: list[bytes | str] = []
    tally = await called(stub(hearing(heard)), seconds=0.5, breaks=True)
    assert (tally.disconnected, tally.broken_off, tally.refused) == (0, 1, 0)
    assert '"stop"' not in str(heard)


async def test_who_was_to_break_off_stops_where_the_load_ends_first(stub: Stub) -> None:
    heard: list[bytes | str] = []
    tally = await called(stub(hearing(heard)), seconds=60, breaks=True, ending=True)
    assert '"stop"' in str(heard[-1])
    assert (tally.disconnected, tally.broken_off) == (0, 0)
