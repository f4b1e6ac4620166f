"""Slows down whoever guesses passwords.

Who guesses a name from many addresses slows that name down for everybody, up to a quarter of an hour: the price of
being slow for guessers who come from everywhere.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FREE = 5
"""Wrong passwords for one name from one address before the next must wait."""
FREE_ADDRESS, FREE_NAME = 20, 50
"""The same for one address with any names, and for one name from any addresses."""
LONGEST_WAIT = 15 * 60.0
_FORGOTTEN = 60 * 60.0
_MOST = 10_000


@dataclass
class _Tally:
    wrong: int = 0
    last: float = 0.0


@dataclass
class Throttle:
    """Counts wrong passwords in this process; each beyond the free ones doubles the wait, up to a quarter of an hour.

    >>> throttle = Throttle(clock=lambda: 0.0)
    >>> [throttle.enter("ada", "10.0.0.1") for _ in range(FREE + 1)]
    [0.0, 0.0, 0.0, 0.0, 0.0, 2.0]
    """

    clock: Callable[[], float] = time.monotonic
    _tallies: OrderedDict[tuple[str, str], _Tally] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, name: str, address: str) -> float:
        """Count an attempt, or give the seconds until the next may be made.

        It counts before its password is checked, so that a hundred at once are a hundred; `passed` takes it back.
        """
        now = self.clock()
        with self._lock:
            waits = [self._wait(key, free, now) for key, free in self._keys(name, address)]
            if max(waits) > 0:
                return max(waits)
            for key, _ in self._keys(name, address):
                tally = self._tallies.setdefault(key, _Tally())
                tally.wrong, tally.last = tally.wrong + 1, now
                self._tallies.move_to_end(key)
            while len(self._tallies) > _MOST:
                self._tallies.popitem(last=False)
        return 0.0

    def passed(self, name: str, address: str) -> None:
        """The attempt was right: forget the name's wrong ones from here, and take it back elsewhere."""
        with self._lock:
            for key, free in self._keys(name, address):
                if free == FREE:
                    self._tallies.pop(key, None)
                elif key in self._tallies:
                    self._tallies[key].wrong = max(0, self._tallies[key].wrong - 1)

    def _keys(self, name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
        name = name.casefold()[:200]
        return ((name, address), FREE), (("", address), FREE_ADDRESS), ((name, ""), FREE_NAME)

    def _wait(self, key: tuple[str, str], free: int, now: float) -> float:
        tally = self._tallies.get(key)
        if tally is None:
            return 0.0
        if now - tally.last > _FORGOTTEN:
            del self._tallies[key]
            return 0.0
        if tally.wrong < free:
            return 0.0
        return max(0.0, tally.last + min(LONGEST_WAIT, 2.0 ** min(tally.wrong - free + 1, 30)) - now)
