"""MLflow behind one door: log a bundle as a version, look versions up, fetch them, move the aliases.

MLflow is imported inside functions only: `import flowguard.registry` stays fast and loads none of it.
"""

from __future__ import annotations

from flowguard.registry.registry import Registry
from flowguard.registry.version import CHALLENGER, CHAMPION, Version

__all__ = ["CHALLENGER", "CHAMPION", "Registry", "Version"]
