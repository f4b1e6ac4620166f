"""The benchmarks are no package: they are commands, whose folder is on the path when they run."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
# Loaded once for the processes that measure, which take a while to start otherwise.
multiprocessing.set_forkserver_preload(["pytest", "sklearn.metrics", "sklearn.preprocessing"])
