"""The wheel holds flowguard alone, typed and licensed, and works away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.process import plain_environment

pytestmark = pytest.mark.e2e

SOURCES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what belongs to it: a build folder of earlier days would get into the wheel."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for name in ("flowguard", "flows", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", folder]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, env=plain_environment())
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = (folder / "dist").glob("flowguard-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel; its dependencies are those of the tests' environment."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    command = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, timeout=120, env=plain_environment())
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv/lib" / version / "site-packages"
    # Added after the environment's own packages, and without following the .pth files that lie there: nothing is
    # downloaded, and the checkout stays out of reach.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "venv/bin"


def ran(command: list[Path | str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = plain_environment()
    environment.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_wheel_holds_flowguard_alone_typed_and_licensed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"flowguard"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "flowguard").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    folders = ("reports/templates", "review/web/templates", "review/web/static")
    beside = {path for folder in folders for path in (ROOT / "flowguard" / folder).iterdir()}
    assert {"flowguard/py.typed", *(path.relative_to(ROOT).as_posix() for path in beside)} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in metadata


def test_the_command_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    version = ran([installed / "flowguard", "--version"], tmp_path)
    assert (version.returncode, version.stdout.split()[0]) == (0, "flowguard")
    demo = ran([installed / "flowguard", "demo"], tmp_path)
    assert demo.returncode == 2
    assert "The demo runs from a checkout" in demo.stderr
    assert "Traceback" not in demo.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_ground_is_imported_without_the_heavy_parts(installed: Path, tmp_path: Path) -> None:
    program = (
        "import sys, flowguard, flowguard.spec, flowguard.calibration\n"
        "print(flowguard.__file__)\n"
        "print(sorted({'torch', 'mlflow', 'prefect', 'typer', 'duckdb', 'pandas'} & set(sys.modules)))"
    )
    done = ran([installed / "python", "-c", program], tmp_path)
    assert done.returncode == 0, done.stderr
    place, loaded = done.stdout.splitlines()
    assert Path(place).is_relative_to(installed.parent), "the installed package, not the checkout"
    assert loaded == "[]"
