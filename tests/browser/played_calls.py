"""A call center that is played: calls that drift between emotions, over the server's own hub.

    python -m tests.browser.played_calls --calls 200 --past 150 --live

Serves the pages and `/v1/monitor` on a free port, and prints its address. With `--live` each call says
something once a second. Without, nothing happens but what lines of JSON on stdin ask for, so that tests
need no clock; each is answered with a line.
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import sys
import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from emotion.labels import EMOTIONS
from emotion.messages import Smoothed
from stream_server.http import browser_files, page_response, response
from stream_server.hub import Hub
from stream_server.monitor import Monitor
from tests import fakes

KEPT: Final = 0.5 ** (1 / 2)  # of the smoothed judgement from one second to the next
DRIFTS: Final = {
    "neutral": ("calm", "calm", "happy", "sad", "angry", "surprised", "fearful"),
    "calm": ("neutral", "neutral", "happy", "sad"),
    "happy": ("neutral", "surprised", "calm"),
    "sad": ("neutral", "fearful", "angry", "calm"),
    "angry": ("angry", "disgust", "neutral", "sad"),
    "fearful": ("sad", "neutral", "surprised"),
    "disgust": ("angry", "neutral"),
    "surprised": ("happy", "neutral", "fearful"),
}
TEAMS: Final = ("billing", "support", "claims", "sales", "orders")


class Caller:
    """Somebody who speaks in turns, in a mood that changes now and then."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.stream = f"{TEAMS[number % len(TEAMS)]}-{1000 + number}"
        self.session = f"{chance.getrandbits(64):016x}"
        self.seq = self.end_s = 0
        self.angry_since: int | None = None
        self.alerts = 0
        self.alerting = False
        self._chance = chance
        self._mood = chance.choices(EMOTIONS, (10, 6, 3, 2, 2, 1, 1, 1))[0]
        self._smooth = dict.fromkeys(EMOTIONS, 1 / len(EMOTIONS))
        self._strength = chance.uniform(1.5, 3.2)
        self._turn_s = chance.randint(3, 12)
        self._speaks = True

    def began(self) -> dict[str, Any]:
        """`started`, as the hub has it."""
        return self._named(fakes.started(metadata={}), f"{self.session}:0")

    def ended(self) -> dict[str, Any]:
        """`summary`."""
        return self._named(fakes.summary_of(audio_s=self.end_s), f"{self.session}:end")

    def next(self) -> list[dict[str, Any]]:
        """A second more: its window's event, and an alert where one begins or ends."""
        self.seq += 1
        self.end_s += 1
        self._turn()
        if not self._speaks:
            heard: Any = fakes.silence(self.seq, **self._window())
        else:
            raw = self._judged()
            for label in EMOTIONS:
                self._smooth[label] = KEPT * self._smooth[label] + (1 - KEPT) * raw[label]
            label, top = _top(raw), _top(self._smooth)
            smoothed = Smoothed(label=top, probabilities=_rounded(self._smooth))
            heard = fakes.emotion(
                label,
                round(raw[label], 3),
                seq=self.seq,
                probabilities=_rounded(raw),
                smoothed=smoothed,
                **self._window(),
            )
        return [self._named(heard, f"{self.session}:{self.seq}"), *self._alert()]

    def alert(self, state: str, message: str, since_s: float) -> dict[str, Any]:
        """`alert`, raised or cleared."""
        self.alerts += 1
        return {
            "type": "alert",
            "id": f"{self.session}:alert:{self.alerts}",
            "stream_id": self.stream,
            "session_id": self.session,
            "channel": "mono",
            "rule": "anger",
            "state": state,
            "at_s": float(self.end_s),
            "since_s": since_s,
            "message": message,
            "reason": None if state == "raised" else "below",
        }

    def _window(self) -> dict[str, Any]:
        return {"start_s": float(max(0, self.end_s - 3)), "end_s": float(self.end_s)}

    def _turn(self) -> None:
        self._turn_s -= 1
        if self._turn_s <= 0:
            self._speaks = not self._speaks
            self._turn_s = (
                self._chance.randint(5, 16) if self._speaks else self._chance.randint(2, 8)
            )
        if self._chance.random() < (0.02 if self._mood in ("neutral", "calm") else 0.035):
            self._mood = self._chance.choice(DRIFTS[self._mood])
            self._strength = self._chance.uniform(1.8, 3.8)

    def _judged(self) -> dict[str, float]:
        logits = {label: self._chance.gauss(0, 0.6) for label in EMOTIONS}
        logits[self._mood] += self._strength
        logits[DRIFTS[self._mood][0]] += 0.8
        whole = sum(math.exp(value) for value in logits.values())
        return {label: math.exp(value) / whole for label, value in logits.items()}

    def _alert(self) -> list[dict[str, Any]]:
        angry = self._smooth["angry"] > 0.55
        if not angry:
            self.angry_since = None
        elif self.angry_since is None:
            self.angry_since = self.end_s
        since = self.angry_since
        holds = since is not None and self.end_s - since >= 10
        if holds == self.alerting:
            return []
        self.alerting = holds
        state = "raised" if holds else "cleared"
        return [self.alert(state, "anger above 0.55 for 10 s", float(since or self.end_s))]

    def _named(self, message: Any, event_id: str) -> dict[str, Any]:
        names = {"id": event_id, "stream_id": self.stream, "session_id": self.session}
        event: dict[str, Any] = msgspec.to_builtins(message)
        return event | {name: value for name, value in names.items() if name in event}


def _top(shares: dict[str, float]) -> str:
    return max(shares, key=lambda label: shares[label])


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {label: round(share, 4) for label, share in shares.items()}


class Center:
    """The calls, and the port at which they are followed."""

    def __init__(self, ring: int, seed: int) -> None:
        self.hub = Hub(ring)
        self.callers: list[Caller] = []
        self.queries: list[dict[str, list[str]]] = []
        self._open: set[ServerConnection] = set()
        self._away = False
        self._files = browser_files()
        self._chance = random.Random(seed)
        self._count = 0
        self._last: list[tuple[str, str]] = []

    # --- what happens ---

    def say(self, event: dict[str, Any], at: float | None = None) -> None:
        """Publishes an event of a call."""
        stamped = json.dumps({"time": round(at or time.time(), 3)} | event)
        self._last = [*self._last[-99:], (event["stream_id"], stamped)]
        self.hub.append(None, event["stream_id"], stamped)

    def start(self, n: int, at: float | None = None) -> None:
        """So many calls begin."""
        for _ in range(n):
            caller = Caller(self._count, self._chance)
            self._count += 1
            self.callers.append(caller)
            self.say(caller.began(), at)

    def step(self, n: int = 1, past: float = 0.0) -> None:
        """So many seconds of every call, the last of them so many seconds ago."""
        for left in range(n - 1, -1, -1):
            for caller in self.callers:
                for event in caller.next():
                    self.say(event, time.time() - past - left)

    def end(self, n: int) -> None:
        """The oldest calls end."""
        for caller in self.callers[:n]:
            self.say(caller.ended())
        del self.callers[:n]

    def alert(self, call: int, state: str, message: str = "anger above 0.6 for 10 s") -> None:
        """A rule begins or ceases to hold."""
        caller = self.callers[call]
        self.say(caller.alert(state, message, float(max(0, caller.end_s - 10))))

    def again(self) -> None:
        """The last events come once more, as a bus may repeat them."""
        for stream_id, stamped in list(self._last):
            self.hub.append(None, stream_id, stamped)

    def drop(self) -> None:
        """All connections break without a word."""
        for connection in self._open:
            connection.transport.abort()

    def away(self, value: bool) -> None:
        """Nobody can connect, until somebody can."""
        self._away = value

    # --- the port ---

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, or none where `/v1/monitor` is asked for."""
        url = urlsplit(request.path)
        if url.path == "/v1/monitor" and not self._away:
            self.queries.append(parse_qs(url.query))
            return None
        file = self._files.get(url.path)
        if file:
            return page_response(file, request)
        status = HTTPStatus.SERVICE_UNAVAILABLE if self._away else HTTPStatus.NOT_FOUND
        return response(status, "not here\n")

    async def serve(self, connection: ServerConnection) -> None:
        """A subscriber."""
        self._open.add(connection)
        try:
            await Monitor(connection, self.hub, 5.0).serve()
        finally:
            self._open.discard(connection)

    async def live(self) -> None:
        """Every call says something once a second, each at its own moment; some end, some begin."""
        tick = 0
        while True:
            await asyncio.sleep(0.05)
            tick += 1
            for caller in self.callers[tick % 20 :: 20]:
                for event in caller.next():
                    self.say(event)
            if tick % 80 == 0:
                self.end(1)
                self.start(1)

    async def obey(self) -> None:
        """Does what lines on stdin ask for, until there are none."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            done = asked.pop("do")
            if done == "state":
                result: Any = {"queries": self.queries, "streams": [c.stream for c in self.callers]}
            else:
                result = getattr(self, done)(**asked)
            print(json.dumps(result), flush=True)


async def main() -> None:
    """Runs until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=0, help="that are there at first")
    parser.add_argument("--past", type=int, default=0, help="seconds that they have already said")
    parser.add_argument("--ring", type=int, default=20_000, help="events that are kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--live", action="store_true", help="every call speaks, by the clock")
    asked = parser.parse_args()
    center = Center(asked.ring, asked.seed)
    for _ in range(asked.calls):
        center.start(1, time.time() - asked.past)
        center.callers[-1].end_s = random.Random(center._count).randint(0, 900) if asked.live else 0
    center.step(asked.past)
    server = await serve(
        center.serve,
        "127.0.0.1",
        asked.port,
        process_request=center.answer,
        subprotocols=["emotion.v1"],  # type: ignore[list-item]
        compression=None,
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    live = asyncio.create_task(center.live()) if asked.live else None
    await center.obey()
    if live:
        live.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await live
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
