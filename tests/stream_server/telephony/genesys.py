"""Sessions as Genesys sends them, and what a dialect makes of them. Shared by this folder's tests."""

import json
from typing import Any

import pytest

from emotion.errors import MessageError
from emotion.messages import Emotion, Error
from stream_server.dialect import Reply
from stream_server.telephony.audiohook import AudioHook
from tests import fakes
from tests.stream_server.telephony.calls import received, said

SESSION = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
CONVERSATION = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = "883efee8-3d6c-4537-b500-6d7ca4b92fa0"


def offer(*channels: str, **changes: Any) -> dict[str, Any]:
    return {"type": "audio", "format": "PCMU", "channels": list(channels), "rate": 8000} | changes


USUAL = [offer("external", "internal"), offer("external"), offer("internal")]


class Client:
    """Numbers messages as Genesys does."""

    def __init__(self) -> None:
        self.seq = 0
        self.serverseq = 0

    def say(self, kind: str, parameters: dict[str, Any] | None = None, **changes: Any) -> str:
        self.seq += 1
        message = {
            "version": "2",
            "id": SESSION,
            "type": kind,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": "PT0S",
            "parameters": parameters or {},
        }
        return json.dumps(message | changes)

    def open(self, **changes: Any) -> str:
        parameters = {
            "organizationId": ORGANIZATION,
            "conversationId": CONVERSATION,
            "participant": {
                "id": PARTICIPANT,
                "ani": "+1-555-555-1234",
                "aniName": "John Doe",
                "dnis": "+1-800-555-6789",
            },
            "media": USUAL,
            "language": "en-US",
        }
        return self.say("open", parameters | changes)


def opened(*analyzable: str, **changes: Any) -> tuple[AudioHook, Client]:
    """A session that is open."""
    dialect, client = AudioHook(analyzable or ("customer", "agent")), Client()
    received(dialect, [client.open(**changes)])
    return dialect, client


def refusal(dialect: AudioHook, message: str | bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        dialect.receive(message)
    return caught.value


def replied(orders: Any) -> list[dict[str, Any]]:
    """What is replied, without the envelope's constants."""
    return said([order.text for order in orders if isinstance(order, Reply)])


def emotion(seq: int = 1) -> Emotion:
    times = {"start_s": float(seq), "end_s": seq + 3.0}
    return fakes.emotion("angry", 0.8, seq=seq, channel="customer", **times)


SUMMARY = fakes.summary_of(stream_id=CONVERSATION, audio_s=1.0)
FAILED = Error(code="bad_message", message="seq: expected 2, found 5", fatal=False)
