"""What all of telephony's dialects have in common."""

import pytest

from emotion.errors import MessageError
from emotion.messages import Error
from stream_server.telephony import DIALECTS, SUBPROTOCOLS


@pytest.mark.parametrize("path", DIALECTS)
def test_a_dialect_says_nothing_before_it_is_spoken_to(path: str) -> None:
    dialect = DIALECTS[path](("customer",))
    assert dialect.closed() == ()
    assert dialect.write(Error(code="idle", message="no start", fatal=True)) == ()


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("message", ['{"type":"start"}', '{"event":"start"}', b"\x00" * 160])
def test_protocol_v1_is_not_spoken_there(path: str, message: str | bytes) -> None:
    with pytest.raises(MessageError):
        DIALECTS[path](("customer",)).receive(message)


def test_subprotocols_belong_to_paths_that_are_served() -> None:
    assert set(SUBPROTOCOLS) <= set(DIALECTS)
