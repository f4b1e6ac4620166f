"""This machine and what is installed on it: Python, libraries, open files, room for temporary files."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flowguard import __version__
from flowguard.stages.doctor.finding import Answer, Check, fail, ok, warn

GROUP = "this machine"
FILES = 1024
"""Open files that a run should be allowed: Parquet files, libraries and connections at once."""
SCARCE, GONE = 5 * 2**30, 2**29
"""Bytes of free disk below which is warned, and below which a run cannot be expected to end."""
# Pairs that install together and do not work together; what happens with them, in words.
_PAIRS = {
    "fastapi": "Prefect's server stops at its first run",
    "sqlalchemy": "Prefect's schedules never fire, without a word",
}


def machine() -> list[Check]:
    """The checks of this machine."""
    return [
        Check(GROUP, "Python", python),
        Check(GROUP, "libraries", libraries, "pip install --force-reinstall flowguard"),
        Check(GROUP, "open files", open_files),
        Check(GROUP, "temporary files", lambda: room(Path(tempfile.gettempdir()), "TMPDIR")),
    ]


def python() -> Answer:
    """Whether this Python is one that flowguard is made for."""
    wanted = SpecifierSet(metadata("flowguard")["Requires-Python"] or "")
    found = f"Python {platform.python_version()}, flowguard {__version__} on {platform.system()} {platform.machine()}"
    if wanted.contains(platform.python_version(), prereleases=True):
        return ok(found)
    return fail(f"{found}; flowguard needs {wanted}", "Make a virtual environment with python3.11, 3.12 or 3.13.")


def libraries(names: Sequence[str] = ()) -> Answer:
    """Whether every library that flowguard needs is there, in a version that it works with."""
    wrong = list(_wrong(required(), names))
    if not wrong:
        shown = ", ".join(f"{name} {version(name)}" for name in ("torch", "mlflow", "prefect", "pydantic"))
        return ok(shown)
    said = "; ".join(f"{found}, needed {wanted}{why}" for found, wanted, why in wrong)
    return fail(said, f"pip install {' '.join(repr(str(wanted)) for _, wanted, _ in wrong)}")


def required(extra: str = "") -> list[Requirement]:
    """What flowguard, or one of its extras, says that it needs."""
    found = [Requirement(line) for line in requires("flowguard") or ()]
    if not extra:
        return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [one for one in found if one.marker is not None and one.marker.evaluate({"extra": extra})]


def missing(extra: str) -> list[str]:
    """The libraries of an extra that are not there, or in a version that does not do."""
    return [str(wanted) for _, wanted, _ in _wrong(required(extra), ())]


def _wrong(wanted: Sequence[Requirement], names: Sequence[str]) -> Iterator[tuple[str, Requirement, str]]:
    for one in wanted:
        plain = Requirement(f"{one.name}{one.specifier}")
        if names and one.name not in names:
            continue
        try:
            there = version(one.name)
        except PackageNotFoundError:
            yield f"{one.name} is not installed", plain, ""
            continue
        if not one.specifier.contains(there, prereleases=True):
            why = f" ({_PAIRS[one.name]})" if one.name in _PAIRS else ""
            yield f"{one.name} {there}", plain, why


def open_files() -> Answer:
    """Whether enough files may be open at once."""
    if sys.platform == "win32":
        return ok("not limited")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return ok("not limited" if soft == resource.RLIM_INFINITY else f"{soft:,} at once")
    more = "" if hard == resource.RLIM_INFINITY or hard >= FILES else " (as root, or in /etc/security/limits.conf)"
    return warn(f"{soft:,} at once; wide sources open more", f"ulimit -n {FILES * 4}{more}")


def room(folder: Path, where: str) -> Answer:
    """Whether there is room on the disk of `folder`; `where` says what names another."""
    above = folder if folder.exists() else next(one for one in folder.absolute().parents if one.exists())
    usage = shutil.disk_usage(above)
    found = f"{usage.free / 2**30:,.1f} GB free of {usage.total / 2**30:,.0f} in {above}"
    remedy = f"Make room in {above}, or name a folder on another disk in {where}."
    if usage.free < GONE:
        return fail(found, remedy)
    return warn(found, remedy) if usage.free < SCARCE else ok(found)
