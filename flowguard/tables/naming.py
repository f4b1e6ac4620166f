"""Names of batches: safe as a folder's name, one per file or partition, and always the same for the same
one."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

_LONGEST = 120


def batch_names(inner: Sequence[str], *, whole: Sequence[str] | None = None) -> list[str]:
    """A distinct folder name for each path below the source's folder.

    A file's name stands as it is, without its ending. One that had to be altered (a subfolder, a space) ends
    with a piece of its hash, so that no two paths share a name and a name never depends on which other files
    there are,
    unless two files of different sources' folders have one name: then these get the hash of their `whole` path.

    >>> batch_names(["2026-11-01.parquet", "day=2026-11-01"])
    ['2026-11-01', 'day=2026-11-01']
    """
    names = [_safe(path) for path in inner]
    count = Counter(name.casefold() for name in names)
    return [
        name if count[name.casefold()] == 1 else f"{name}-{_digest(path)}" for name, path in zip(names, whole or inner)
    ]


def _safe(path: str) -> str:
    stem = path.removesuffix(".parquet").removesuffix(".pq")
    text = unicodedata.normalize("NFC", stem)
    name = "".join(char if char.isalnum() or char in "._-=," else "_" for char in text)
    if name.startswith((".", "_")) or not name:
        name = "x" + name
    if name != stem or len(name.encode()) > _LONGEST:
        name = f"{name.encode()[:_LONGEST].decode(errors='ignore')}-{_digest(path)}"
    return name


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]
