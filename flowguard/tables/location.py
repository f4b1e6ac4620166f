"""Which Parquet files a path means: a file, a folder, a glob or a list of these; local or s3://."""

from __future__ import annotations

import datetime as dt
import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow.fs as pafs

from flowguard.errors import SourceError

_GLOB = re.compile(r"[*?\[]")
_HIVE = re.compile(r"^([^=/]+)=(.*)$")


@dataclass(frozen=True)
class Place:
    """One Parquet file: where it is, how to name it to people, and where it lies below what was asked for."""

    path: str  # inside `filesystem`; local paths are absolute
    shown: str
    inner: str  # path below the asked folder or the fixed part of the glob, with / between its parts
    filesystem: pafs.FileSystem | None = field(compare=False)  # None: local

    @property
    def partition(self) -> tuple[tuple[str, str], ...]:
        """The Hive partition the file lies in, outermost first: (("day", "2026-11-01"),)."""
        folders = self.shown.replace(os.sep, "/").split("/")[:-1]
        found = (_HIVE.match(folder) for folder in folders)
        return tuple((match[1], unquote(match[2])) for match in found if match)


def find_files(path: str | Sequence[str], *, root: Path) -> list[Place]:
    """The Parquet files that `path` means, sorted by name; relative paths start at `root`.

    Folders are searched to any depth; files and folders whose names begin with `_` or `.` are left out, as
    other Parquet readers do. Raises `SourceError` when nothing is found.
    """
    asked = [path] if isinstance(path, str) else list(path)
    found: dict[tuple[bool, str], Place] = {}
    for one in asked:
        places = _find_s3(one) if one.startswith("s3://") else _find_local(one, root)
        for place in places:
            found.setdefault((place.filesystem is None, place.path), place)
    return sorted(found.values(), key=lambda place: place.shown)


def stamp_of(places: Sequence[Place]) -> str:
    """A digest of the files' names, sizes and times: equal as long as nobody has written to them."""
    seen = hashlib.sha256()
    for place in places:
        if place.filesystem is None:
            status = os.stat(place.path)
            facts = (place.path, status.st_size, status.st_mtime_ns)
        else:
            info = place.filesystem.get_file_info(place.path)
            facts = (place.path, info.size, info.mtime_ns)
        seen.update(repr(facts).encode())
    return seen.hexdigest()


def written_at(places: Sequence[Place]) -> dt.datetime:
    """When the newest of the files was written."""
    times = []
    for place in places:
        if place.filesystem is None:
            times.append(os.stat(place.path).st_mtime_ns)
        else:
            times.append(place.filesystem.get_file_info(place.path).mtime_ns)
    return dt.datetime.fromtimestamp(max(times) / 1e9, dt.UTC)


def _find_local(path: str, root: Path) -> list[Place]:
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]+)://", path)
    if scheme and scheme[1] != "file":
        raise SourceError(
            f"{path}: {scheme[1]}:// is not supported; expected a local path or s3://bucket/path. "
            "Copy the files to one of these, or mount them."
        )
    plain = path.removeprefix("file://")
    full = root / Path(plain).expanduser()
    if full.is_file():
        return [_local(full, full.parent, root)]
    if full.is_dir():
        below = sorted(file for file in full.rglob("*") if file.suffix in (".parquet", ".pq") and file.is_file())
        places = [_local(file, full, root) for file in below if _visible(file.relative_to(full).parts)]
        if not places:
            raise SourceError(f"{path} is a folder without Parquet files (*.parquet); expected at least one in it.")
        return places
    if _GLOB.search(plain):
        base = _fixed_part(str(full))
        files = sorted(Path(file) for file in glob.glob(str(full), recursive=True))
        places = [
            _local(file, base, root) for file in files if file.is_file() and _visible(file.relative_to(base).parts)
        ]
        if not places:
            raise SourceError(f"{path} matches no file (searched from {root}); expected Parquet files.")
        return places
    raise SourceError(f"{path} does not exist (searched from {root}); expected a Parquet file, folder or glob.")


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    stop = next(index for index, part in enumerate(parts) if _GLOB.search(part))
    return Path(*parts[:stop])


def _visible(parts: Sequence[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _local(file: Path, base: Path, root: Path) -> Place:
    file = Path(os.path.abspath(file))
    shown = file
    if file.is_relative_to(root.absolute()):
        shown = file.relative_to(root.absolute())
    inner = file.relative_to(Path(os.path.abspath(base))).as_posix()
    return Place(path=str(file), shown=str(shown), inner=inner, filesystem=None)


def _find_s3(path: str) -> list[Place]:
    bucket_and_key = path.removeprefix("s3://").rstrip("/")
    if not bucket_and_key:
        raise SourceError(f"{path} names no bucket; expected s3://bucket/path.")
    filesystem = s3_filesystem()
    try:
        if _GLOB.search(bucket_and_key):
            base = "/".join(_before_glob(bucket_and_key.split("/")))
            files = [
                info.path
                for info in filesystem.get_file_info(pafs.FileSelector(base, recursive=True))
                if info.type == pafs.FileType.File and _matches(info.path, bucket_and_key)
            ]
        else:
            info = filesystem.get_file_info(bucket_and_key)
            if info.type == pafs.FileType.File:
                base, files = bucket_and_key.rpartition("/")[0], [bucket_and_key]
            else:
                base = bucket_and_key
                below = filesystem.get_file_info(pafs.FileSelector(base, recursive=True))
                files = [
                    one.path
                    for one in below
                    if one.type == pafs.FileType.File and one.path.endswith((".parquet", ".pq"))
                ]
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise SourceError(
            f"{path} cannot be listed: {_first_line(error)}. Check the bucket's name, the credentials "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a profile), AWS_REGION, and AWS_ENDPOINT_URL if it "
            "is not Amazon's."
        ) from None
    inner = {file: file.removeprefix(base).lstrip("/") for file in files}
    shown = sorted(file for file in files if _visible(inner[file].split("/")))
    if not shown:
        raise SourceError(f"{path} does not exist or holds no Parquet file; expected at least one.")
    return [Place(file, f"s3://{file}", inner[file], filesystem) for file in shown]


def _before_glob(parts: list[str]) -> list[str]:
    stop = next(index for index, part in enumerate(parts) if _GLOB.search(part))
    return parts[:stop]


def _matches(path: str, pattern: str) -> bool:
    """Glob over / separated parts, ** standing for any number of folders."""

    def match(parts: list[str], wanted: list[str]) -> bool:
        if not wanted:
            return not parts
        if wanted[0] == "**":
            return any(match(parts[skip:], wanted[1:]) for skip in range(len(parts) + 1))
        return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and match(parts[1:], wanted[1:])

    return match(path.split("/"), pattern.split("/"))


def s3_filesystem() -> pafs.FileSystem:
    """S3 by the usual environment: credentials, AWS_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, object] = {"connect_timeout": 10, "request_timeout": 60}
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    if region or endpoint:
        options["region"] = region or "us-east-1"
    return pafs.S3FileSystem(**options)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
