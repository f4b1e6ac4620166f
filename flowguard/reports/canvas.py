"""The paper and ink of every figure: sizes, colours, axes, and the SVG that a page takes in.

Matplotlib's objects alone, without pyplot, so that no global figure list grows and no display is looked for.
Colours of the pages are stand-ins that become the stylesheet's variables, so that one drawing serves light,
dark and print.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation


@dataclass(frozen=True)
class Ink:
    """The colours of a drawing."""

    text: str
    soft: str
    line: str
    ordinary: str
    accent: str
    alert: str


#: Stand-ins that `svg` replaces by the stylesheet's variables.
PAGE = Ink("#010101", "#020202", "#030303", "#040404", "#050505", "#060606")
PAPER = Ink("#1c2629", "#56646a", "#dde3e3", "#c3cdd0", "#1d6a74", "#b3421c")
_VARIABLES = {
    PAGE.text: "var(--ink)",
    PAGE.soft: "var(--soft)",
    PAGE.line: "var(--line)",
    PAGE.ordinary: "var(--ordinary)",
    PAGE.accent: "var(--accent)",
    PAGE.alert: "var(--alert)",
}


@contextmanager
def drawing(width: int, height: int, name: str, *, ink: Ink = PAGE) -> Iterator[tuple[Figure, Axes]]:
    """A figure of that many CSS pixels with one quiet pair of axes; `name` keeps its ids apart."""
    # hashsalt makes ids repeatable; another salt per figure keeps them apart on one page.
    settings = {"svg.fonttype": "none", "svg.hashsalt": f"flowguard-{name}", "font.size": 12.0 * 0.75}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width / 96, height / 96), dpi=96)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((56 / width, 34 / height, 1 - 72 / width, 1 - 44 / height))
        quiet(axes, ink)
        if ink is not PAGE:
            figure.patch.set(visible=True, facecolor="white")
        yield figure, axes


def quiet(axes: Axes, ink: Ink) -> None:
    """Takes away what does not carry data: frame, tick marks, background."""
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=ink.line)
    axes.tick_params(length=0, pad=6, colors=ink.soft)
    axes.tick_params(axis="x", pad=9)
    axes.grid(True, axis="y", color=ink.line, lw=0.8)
    axes.set_axisbelow(True)


def label(axes: Axes, x: float, height: float, text: str, color: str) -> None:
    """Text that ends a little left of data coordinate `x`, at a share of the axes' height."""
    shift = ScaledTranslation(-6 / 96, -2 / 96, axes.figure.dpi_scale_trans)
    transform = axes.get_xaxis_transform() + shift
    axes.text(x, height, text, color=color, ha="right", va="top", transform=transform, parse_math=False)


def svg(figure: Figure, titles: dict[str, str] | None = None) -> str:
    """The drawing as an ``<svg>`` element for a page; `titles` are tooltips by element id."""
    text = _bare(figure)
    opening = r'<svg \1 aria-hidden="true" focusable="false">'
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', opening, text, count=1)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    # The table beside the plot holds the same links: the plot's are for the mouse alone.
    text = text.replace("xlink:href=", "href=").replace("<a href=", '<a tabindex="-1" href=')
    for gid, title in (titles or {}).items():
        text = text.replace(f'<g id="{gid}">', f"<g><title>{html.escape(title)}</title>", 1)
    # Two figures on one page would both have an "axes_1": only ids that something refers to are kept.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    return re.sub(r' id="([^"]+)"', lambda m: m.group(0) if m.group(1) in used else "", text)


def svg_file(figure: Figure) -> str:
    """The drawing as the text of an SVG file of its own."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _bare(figure)


def _bare(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>\s*|<style type.*?</style>\s*", "", text, flags=re.S)


_NO_METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
