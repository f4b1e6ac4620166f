"""The sealed folder: tensors and JSON with the SHA-256 of every file, no pickle anywhere.

    manifest.json      what is inside, how it was made, the hash of every other file
    manifest.sha256    the manifest's own digest: the identity of the version
    *.json             encoder, density, calibration, schema, provenance, training history
    *.safetensors      weights and calibration arrays

A folder whose bytes differ anywhere from what was sealed is refused, and so is one with files added or missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from flowguard.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"

Arrays = dict[str, np.ndarray]


def seal(
    folder: Path,
    *,
    documents: Mapping[str, Any],
    arrays: Mapping[str, Arrays],
    facts: Mapping[str, Any],
) -> str:
    """Write a bundle at `folder` in one rename and return its digest.

    `documents` become `<name>.json`, `arrays` become `<name>.safetensors`, `facts` stand in the manifest. An existing
    folder is replaced only when it is a bundle itself; anything else there raises `BundleError`.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise BundleError(f"{folder} holds files that are not a bundle. Give an empty or a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, document in documents.items():
            (work / f"{name}.json").write_text(_json(document), encoding="utf-8")
        for name, tensors in arrays.items():
            save_file(
                {key: np.ascontiguousarray(value) for key, value in tensors.items()},
                work / f"{name}.safetensors",
            )
        files = {path.name: _sha256(path) for path in sorted(work.iterdir())}
        manifest = _json({"format": FORMAT, **facts, "files": files}).encode("utf-8")
        digest = hashlib.sha256(manifest).hexdigest()
        (work / MANIFEST).write_bytes(manifest)
        (work / SEAL).write_text(digest + "\n", encoding="ascii")
        work.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return digest


def digest(folder: Path) -> str:
    """The identity of the bundle at `folder`: the SHA-256 of its manifest, checked against the seal beside it."""
    folder = Path(folder)
    try:
        manifest = (folder / MANIFEST).read_bytes()
        sealed = (folder / SEAL).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{folder} is not a flowguard bundle: {MANIFEST} or {SEAL} cannot be read ({error}). "
            "Give the folder that `flowguard train` sealed, or fetch the version again."
        ) from None
    found = hashlib.sha256(manifest).hexdigest()
    if found != sealed:
        raise _changed(folder, MANIFEST)
    return found


def unseal(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Arrays], str]:
    """Check every byte of the bundle at `folder`; return its manifest, documents, arrays and digest.

    Raises `BundleError` naming the first file that is missing, added or changed.
    """
    folder = Path(folder)
    identity = digest(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{folder} has bundle format {manifest.get('format')}; this flowguard reads format {FORMAT}. "
            "Install the flowguard release that sealed it, or train a new version."
        )
    files: dict[str, str] = manifest["files"]
    strangers = {path.name for path in folder.iterdir()} - set(files) - {MANIFEST, SEAL}
    if strangers:
        raise BundleError(
            f"{folder} holds a file that was not sealed with it: {min(strangers)}. Fetch the version again."
        )
    documents: dict[str, Any] = {}
    arrays: dict[str, Arrays] = {}
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{folder} lacks {name}, which its manifest names. Fetch the version again.")
        if _sha256(path) != expected:
            raise _changed(folder, name)
        if path.suffix == ".json":
            documents[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        else:
            arrays[path.stem] = load_file(path)
    return manifest, documents, arrays, identity


def _changed(folder: Path, name: str) -> BundleError:
    return BundleError(
        f"{folder / name} was changed after the bundle was sealed: its SHA-256 is not the recorded one. "
        "Nothing was loaded. Fetch the version again from the registry."
    )


def _json(document: Any) -> str:
    # Sorted keys and no NaN: the same content has the same bytes, and every JSON reader can read it.
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
