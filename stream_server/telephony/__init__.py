"""Telephony's protocols, each a pure dialect over the same session.

fields.py     foreign JSON, checked
tracks.py     frames of one or two tracks, put in order and side by side
twilio.py     Twilio Media Streams, and those who speak like it
audiohook.py  Genesys AudioHook, version 2
signature.py  the signature on AudioHook's handshake
raw.py        Vonage, jambonz, Asterisk: a line of text, then audio
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stream_server.dialect import Dialect
from stream_server.telephony.audiohook import AudioHook
from stream_server.telephony.raw import Asterisk, Jambonz, Vonage
from stream_server.telephony.twilio import Twilio

DIALECTS: Final[Mapping[str, Callable[[Sequence[str]], Dialect]]] = {
    "/telephony/twilio": Twilio,
    "/telephony/audiohook": AudioHook,
    "/telephony/vonage": Vonage,
    "/telephony/jambonz": Jambonz,
    "/telephony/asterisk": Asterisk,
}
"""Path -> its dialect, made from the names of the channels that may be analysed."""

SUBPROTOCOLS: Final[Mapping[str, str]] = {"/telephony/jambonz": "audio.jambonz.org"}
"""Path -> the subprotocol that its clients offer and want to be agreed to."""
