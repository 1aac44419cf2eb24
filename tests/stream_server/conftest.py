"""A server for whoever needs no particular one."""

from collections.abc import AsyncIterator

import pytest

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.server import Server, running


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    async with running(Config(port=0, max_sessions=3), engine) as server:
        yield server
