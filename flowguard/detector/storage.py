"""A detector to a sealed folder and back."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from flowguard import __version__
from flowguard.calibration import Calibration
from flowguard.density import RecordDensity
from flowguard.detector import bundle
from flowguard.detector.detector import Detector, Engine
from flowguard.detector.watch import Watched
from flowguard.encoding import Encoder
from flowguard.errors import BundleError
from flowguard.explain import Baseline

PINNED = ("torch", "numpy", "scipy", "pandas", "pyarrow", "safetensors")


def save(detector: Detector, folder: str | Path) -> str:
    """Seal `detector` in `folder` and return the bundle's digest; the same detector gives the same bytes.

    The weights are stored as they were trained (float32); scoring widens them, which loses nothing.
    """
    weights = {name: value.detach().cpu() for name, value in detector.density.state_dict().items()}
    floats = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    documents: dict[str, Any] = {
        "encoder": detector.encoder.to_dict(),
        "density": detector.density.config,
        "schema": {
            "columns": dict(detector.columns),
            "order": list(detector.columns),
            "key": list(detector.key),
            "redact": list(detector.redact),
            "units": dict(detector.units),
        },
        "provenance": dict(detector.provenance),
        "training": [dict(epoch) for epoch in detector.history],
    }
    arrays: dict[str, bundle.Arrays] = {"weights": {name: value.numpy() for name, value in floats.items()}}
    # Families without exact terms by column have a calibration but no baseline.
    for name, part in (("calibration", detector.calibration), ("baseline", detector.baseline)):
        if part is not None:
            documents[name], arrays[name] = part.to_state()
    if detector.watched is not None:
        documents["drift"] = detector.watched.to_dict()
    return bundle.seal(
        Path(folder),
        documents=documents,
        arrays=arrays,
        facts={
            "flowguard": __version__,
            "measure_id": detector.measure_id,
            "engine": {
                "tile": detector.engine.tile,
                "threads": detector.engine.threads,
                "dtype": detector.engine.dtype,
                "device": "cpu",
                "machine": platform.machine(),
                "instructions": torch.backends.cpu.get_cpu_capability(),
                "versions": {name: _version(name) for name in PINNED},
            },
        },
    )


def load(folder: str | Path) -> Detector:
    """The detector sealed in `folder`, every byte checked first; raises `BundleError` when anything differs."""
    manifest, documents, arrays, digest = bundle.unseal(Path(folder))
    try:
        density = RecordDensity.build(documents["density"])
        weights = {name: torch.from_numpy(value.copy()) for name, value in arrays["weights"].items()}
        density.load_state_dict(weights)
        dtype = getattr(torch, manifest["engine"]["dtype"])
        schema = documents["schema"]
        return Detector(
            encoder=Encoder.from_dict(documents["encoder"]),
            density=density.to(dtype).eval(),
            columns={name: schema["columns"][name] for name in schema["order"]},
            key=schema["key"],
            redact=schema["redact"],
            units=schema["units"],
            engine=Engine(**{name: manifest["engine"][name] for name in ("tile", "threads", "dtype")}),
            calibration=(
                Calibration.from_state(documents["calibration"], arrays["calibration"])
                if "calibration" in documents
                else None
            ),
            baseline=(
                Baseline.from_state(documents["baseline"], arrays["baseline"]) if "baseline" in documents else None
            ),
            watched=Watched.from_dict(documents["drift"]) if "drift" in documents else None,
            provenance=documents["provenance"],
            history=documents["training"],
            digest=digest,
        )
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise BundleError(
            f"{folder} is sealed but does not hold what this flowguard ({__version__}) expects: {error}. "
            f"It was sealed by flowguard {manifest.get('flowguard')}: install that release, or train a new version."
        ) from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
