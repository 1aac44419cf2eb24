"""What a call has to say, for whoever comes back to it."""

import asyncio

from emotion.messages import Message, Silence, Warning
from stream_server.call import OUTBOX, Outbox
from tests.stream_server.test_hub import event


def outbox_of(count: int) -> Outbox:
    outbox = Outbox()
    for seq in range(1, count + 1):
        outbox.put(event(seq))
    return outbox


def seq(message: Message) -> int:
    assert isinstance(message, Silence)
    return message.seq


async def test_messages_come_in_order_and_are_waited_for() -> None:
    outbox = outbox_of(2)
    number, first = outbox.get(0)
    number, second = outbox.get(number)
    waiting = asyncio.create_task(outbox.wait(number))
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put(event(3))
    await waiting
    _, third = outbox.get(number)
    assert [seq(first), seq(second), seq(third)] == [1, 2, 3]


def test_only_the_last_messages_are_kept() -> None:
    outbox = outbox_of(OUTBOX + 10)
    number, oldest = outbox.get(0)
    assert (number, seq(oldest), outbox.gone_seq) == (11, 11, 10)


def test_whoever_has_some_events_reads_on_after_them() -> None:
    outbox = outbox_of(10)
    outbox.put(Warning(code="too_fast", message="m"))
    assert outbox.after(0) == 0
    assert outbox.after(4) == 4
    assert outbox.after(10) == 10  # the warning comes again
    assert outbox.after(99) == 10
    assert Outbox().after(7) == 0
    assert outbox_of(OUTBOX + 10).after(4) == 10
