"""How long to wait before connecting again: exponential, with full jitter.

Thousands of clients lose a server in the same moment; what spreads them out is that each waits a random
part of a doubling time (M. Brooker, "Exponential Backoff and Jitter", 2015).
"""

import random
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 8.0


class Backoff:
    """The waits between attempts.

    Args:
        first_s: the most that the first one may be; doubles with each.
        longest_s: the most that any may be.
        chance: from 0 to 1, evenly.
    """

    def __init__(
        self,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = self._most_s = first_s
        self._longest_s = longest_s
        self._chance = chance

    def wait_s(self) -> float:
        """Seconds to wait before the next attempt."""
        most_s = min(self._most_s, self._longest_s)
        self._most_s = 2 * most_s
        return most_s * self._chance()

    def reset(self) -> None:
        """An attempt succeeded: the next wait is short again."""
        self._most_s = self._first_s
