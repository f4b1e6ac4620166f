"""A density as plain JSON: what must be said, and what is understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowguard.density.capacity import capacity
from flowguard.density.column import Column

BY_SIZE: Final = ("hidden", "dropout", "noise")
REQUIRED: Final = ("columns", "numeric", "cardinalities")
COMMON: Final[dict[str, Any]] = {
    "family": "maf",
    "embedding_width": 64,
    "unseen_rate": 0.02,
    "discrete_width": None,
    "discrete_hidden": None,
    "backoff": 0.1,
    "experts": [],
    "seed": 0,
}
STACK: Final[dict[str, Any]] = {"hidden": [64, 64], "bins": 8, "components": 8, "dropout": 0.0, "noise": 0.0}
BY_FAMILY: Final[dict[str, dict[str, Any]]] = {
    "maf": STACK | {"transformer": "spline", "order": "single", "orders": 1, "layers": 3},
    "realnvp": STACK | {"transformer": "affine", "order": "alternate", "mixing": "none", "layers": 6},
    "gaussian": {},
    "continuous": {"hidden": [64, 64], "steps": 16, "divergence": "auto", "backward": "direct", "noise": 0.0},
}


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every default written out, in a fixed order.

    None for `hidden`, `dropout` or `noise` asks for the rule that goes by the size of the table (`capacity`), None for
    another key for its default. The discrete part's networks are small where nothing but missing values is to be
    learned, which are rare.

    Errors: ValueError for an unknown or absent key or an unknown family.
    """
    family = config.get("family") or COMMON["family"]
    if family not in BY_FAMILY:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(BY_FAMILY)}")
    defaults = COMMON | BY_FAMILY[family]
    absent = [key for key in REQUIRED if key not in config]
    unknown = [key for key in config if key not in defaults and key not in REQUIRED]
    if absent or unknown:
        raise ValueError(f"density config: absent keys {absent}, unknown keys {unknown}")
    columns = [Column.from_dict(column) for column in config["columns"]]
    if not columns:
        raise ValueError("a density needs at least one column")
    rare = all(column.rare and column.kind == "number" for column in columns)
    by_rule: dict[str, Any] = {"discrete_width": 16 if rare else 32, "discrete_hidden": [16] if rare else [64, 64]}
    size = capacity(columns[0].rows, len(columns))
    by_rule |= {key: getattr(size, key) for key in BY_SIZE if key in config and key in defaults}
    # None asks for the rule or the default, so that an optional setting can be passed on as it is.
    given = {key: value for key, value in config.items() if value is not None}
    full = {key: config[key] for key in REQUIRED} | defaults | by_rule | given
    full["columns"] = [column.to_dict() for column in columns]
    return {key: list(value) if isinstance(value, list | tuple) else value for key, value in full.items()}
