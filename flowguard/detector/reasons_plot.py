"""The reasons of one record as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_reasons(reasons: pd.DataFrame, *, title: str = "", axes: Axes | None = None) -> Axes:
    """A bar for each reason of one record (lines of `FlowDetector.explain`), the strongest on top, with its words.

    How long: by how many nats the record becomes likelier if the column takes its best value. Draws on `axes`, else on
    a figure of its own; matplotlib is needed for this alone.
    """
    from matplotlib import pyplot

    if axes is None:
        _, axes = pyplot.subplots(figsize=(8, 0.9 + 0.7 * len(reasons)), layout="constrained")
    told: list[Any] = reasons.sort_values("rank", ascending=False).to_dict("records")
    lengths = [one["share"] if pd.isna(one["contrast"]) else one["contrast"] for one in told]
    axes.barh(range(len(told)), lengths, height=0.32, color="#c2410c")
    for place, one in enumerate(told):
        axes.text(0, place + 0.22, one["words"], ha="left", va="bottom", fontsize=9, parse_math=False)
    axes.set_ylim(-0.5, len(told) - 0.2)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("nats by which the record becomes likelier at the column's best value")
    if title:
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
    return axes
