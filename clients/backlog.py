"""What was recorded and may have to be sent, or sent again: the last seconds of a stream's bytes.

Positions count the stream's bytes from its first one. What is kept is bounded: where more comes, the
oldest goes, in whole samples, and whoever wanted to send it finds a gap there.
"""


class Backlog:
    """A stream's last bytes.

    Args:
        capacity: bytes that are kept.
        frame: bytes of one sample of every channel.
        step: bytes that go at a time where there are too many, so that gaps are few.
    """

    def __init__(self, capacity: int, frame: int, step: int) -> None:
        self._frame = frame
        self._step = max(frame, step - step % frame)
        self._capacity = max(self._step, capacity)
        self._bytes = bytearray()
        self.first = 0  # position of the oldest byte kept

    @property
    def end(self) -> int:
        """Position behind the newest byte."""
        return self.first + len(self._bytes)

    def append(self, data: bytes) -> None:
        """Keeps what was recorded next, at the cost of the oldest."""
        self._bytes += data
        if (excess := len(self._bytes) - self._capacity) > 0:
            self.forget(self.first + excess + (-excess) % self._step)

    def forget(self, position: int) -> None:
        """Drops what comes before a position; a sample that lies across it stays."""
        position = min(position, self.end)
        count = position - position % self._frame - self.first
        if count > 0:
            del self._bytes[:count]
            self.first += count

    def read(self, position: int, most: int) -> bytes:
        """What follows a position that is not before `first`: so many bytes, or those there are."""
        begin = position - self.first
        return bytes(self._bytes[begin : begin + most])
