"""The pipelines whose metrics are told, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowguard.errors import InputError
from flowguard.spec import load_pipeline


def find(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The pipelines of `files`, or all in `folder`/pipelines.

    Of all in the folder, one that cannot be read has the name of its file: it is told to be down. Raises `InputError`
    where there is none, where two have one name, and where one of `files` cannot be read.
    """
    wanted = list(files) or sorted((folder / "pipelines").glob("*.y*ml"))
    if not wanted:
        raise InputError(
            f"There is no pipeline to tell of: {folder / 'pipelines'} holds no *.yaml. Name pipeline files, or run "
            "this in the project folder."
        )
    found: dict[str, Path] = {}
    for file in wanted:
        try:
            name = load_pipeline(file).name
        except InputError:
            if files:
                raise
            name = file.stem
        if found.setdefault(name, file) != file:
            raise InputError(
                f"{found[name]} and {file} both have the name {name!r}, so that their metrics would be mixed up. "
                "Rename one, or name the files of one."
            )
    return found
