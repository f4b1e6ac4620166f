"""What takes long to draw, drawn once: Matplotlib needs a second for the plots of a page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

from flowguard.review.web.shown import DRAWING

_MOST = 64
_kept: OrderedDict[Hashable, Any] = OrderedDict()
_lock = Lock()

T = TypeVar("T")


def drawn(key: Hashable, draw: Callable[[], T]) -> T:
    """What `draw` makes, once for each `key`, which holds everything that it depends on; kept until others are newer.

    >>> drawn(("an example", 1), lambda: "a plot"), drawn(("an example", 1), lambda: "never asked")
    ('a plot', 'a plot')
    """
    found = _look(key)
    if found is None:
        with DRAWING:
            found = _look(key)  # whoever had the lock before may have drawn it
            if found is None:
                found = (draw(),)
                with _lock:
                    _kept[key] = found
                    while len(_kept) > _MOST:
                        _kept.popitem(last=False)
    made: T = found[0]
    return made


def _look(key: Hashable) -> tuple[Any] | None:
    with _lock:
        found: tuple[Any] | None = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
        return found
