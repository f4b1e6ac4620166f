"""The wheel holds flowguard alone, typed and licensed, and works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.e2e


def test_the_wheel_installs_in_an_empty_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("flowguard-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"flowguard"}
    assert {"flowguard/py.typed", "flowguard/reports/templates/page.css"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    metadata = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    python = tmp_path / "venv/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, timeout=120)
    # Its dependencies come from the environment of the tests, so that nothing is downloaded.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / f"venv/lib/{version}/site-packages/dependencies.pth"
    site.write_text(sysconfig.get_paths()["purelib"] + "\n")
    flowguard = tmp_path / "venv/bin/flowguard"
    done = subprocess.run([flowguard, "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout.startswith("flowguard ")
    where = subprocess.run(
        [python, "-c", "import flowguard.spec; print(flowguard.__file__)"], capture_output=True, text=True, cwd=tmp_path
    )
    assert str(tmp_path) in where.stdout, "the installed package is imported, not the checkout"
    demo = subprocess.run([flowguard, "demo"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert demo.returncode == 2
    assert "checkout" in demo.stderr
