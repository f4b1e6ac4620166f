"""Files that flowguard put there: what is known by its name and reached without a link is taken, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

KINDS = ("scores", "reasons", "quarantine")
FINISHED = re.compile(r"[0-9a-f]{16}\.parquet")
UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.(parquet|arrow)|\..{1,100}\.[0-9a-f]{12}\.tmp")


def own_file(folder: Path, path: Path) -> os.stat_result | None:
    """The state of a plain file below `folder`; None where there is none, or a link on the way to it."""
    found = _own(folder, path)
    return found if found is not None and stat.S_ISREG(found.st_mode) else None


def own_folder(folder: Path, path: Path) -> bool:
    """Whether `path` is a folder below `folder`, reached without a link."""
    found = _own(folder, path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def entries(folder: Path, path: Path) -> Iterator[Path]:
    """What lies in a folder below `folder`, by name; nothing where it is none, or a link leads there."""
    if own_folder(folder, path):
        yield from sorted(path.iterdir())


def newest_within(path: Path) -> float:
    """When anything in a folder, or itself, was written last; links are not followed."""
    within = (os.path.join(above, name) for above, folders, names in os.walk(path) for name in (*folders, *names))
    return max([path.lstat().st_mtime, *(os.lstat(one).st_mtime for one in within)])


def size_within(path: Path) -> tuple[int, int]:
    """How many files a folder holds and their bytes; links are not followed."""
    found = [os.lstat(os.path.join(above, name)) for above, _, names in os.walk(path) for name in names]
    return len(found), sum(one.st_size for one in found)


def take_folder(path: Path) -> bool:
    """Remove a folder at once for whoever looks it up, then what it holds; False where it is gone."""
    aside = path.with_name(f".fetch-pruned-{path.name.lstrip('.')}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return False
    shutil.rmtree(aside)
    return True


def _own(folder: Path, path: Path) -> os.stat_result | None:
    found, here = None, folder
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    for place, part in enumerate(parts, start=1):
        here = here / part
        try:
            found = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if part == ".." or (place < len(parts) and not stat.S_ISDIR(found.st_mode)):
            return None
    return found
