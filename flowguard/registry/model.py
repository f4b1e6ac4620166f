"""A bundle as an MLflow model: code over the sealed folder, so that no pickle is written or read."""

from __future__ import annotations

import shutil
import tempfile
import threading
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flowguard
from flowguard.errors import FlowguardError
from flowguard.registry.connection import import_mlflow
from flowguard.registry.signature import model_signature

if TYPE_CHECKING:
    from flowguard.registry.log import Entry
    from flowguard.registry.registry import Registry

# Where the bundle lies inside a logged model.
ARTIFACT = "artifacts/bundle"

# What a version needs besides flowguard; scores are promised bit for bit with what it was made with.
_NEEDS = ("mlflow", "torch", "numpy", "scipy", "pandas", "pyarrow", "safetensors")

# While it saves, MLflow hands a model from code over in a variable of its module.
_saving = threading.Lock()


def write_model(entry: Entry, model: Any, run_id: str, temporary: Path) -> Path:
    """The folder of the MLflow model of `entry`, ready to be uploaded."""
    mlflow = import_mlflow()
    from mlflow.models import Model

    # MLflow names an artifact's folder after the last part of its path.
    staged = temporary / "bundle"
    shutil.copytree(entry.bundle, staged)
    folder = temporary / "model"
    with _saving, warnings.catch_warnings():
        # Without an example MLflow warns on every training; with redacted columns there is none to give.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": staged.as_uri()},
            signature=model_signature(entry.inputs, key=entry.key),
            input_example=entry.example,
            pip_requirements=requirements(),
            metadata={"flowguard": {"digest": entry.digest, "inputs": dict(entry.inputs)}},
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                model_uuid=model.model_id,
                model_id=model.model_id,
                run_id=run_id,
            ),
        )
    return folder


def requirements() -> list[str]:
    """What serving a version needs, pinned to what is installed.

    >>> requirements()[0].startswith("flowguard==")
    True
    """
    pins = [f"flowguard=={flowguard.__version__}"]
    for package in _NEEDS:
        with suppress(PackageNotFoundError):
            # A local version such as 2.13.0+cpu is not on every index.
            pins.append(f"{package}=={installed_version(package).partition('+')[0]}")
    return pins


def check_signature(registry: Registry, model: Any) -> None:
    """Read back what was stored: MLflow may drop a signature without a word (mlflow#25593)."""
    mlflow = import_mlflow()
    from mlflow.models import Model

    with tempfile.TemporaryDirectory() as folder:
        stored = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{model.artifact_location.rstrip('/')}/MLmodel",
            dst_path=folder,
            tracking_uri=registry.tracking_uri,
            registry_uri=registry.registry_uri,
        )
        if Model.load(stored).signature is None:
            raise FlowguardError(
                "MLflow stored the model without its signature, so nothing was registered. Check the MLflow "
                "release that is installed here and on the server, then train again."
            )
