"""Cells for CSV files that people open in a spreadsheet."""

from __future__ import annotations


def neutral(cell: object) -> object:
    r"""A cell that no spreadsheet takes for a formula and no terminal obeys.

    >>> neutral("=1+1"), neutral(-3), neutral("a\x1b[31m")
    ("'=1+1", -3, 'a\\x1b[31m')
    """
    if not isinstance(cell, str):
        return cell
    # A spreadsheet skips leading space before it looks for a formula.
    acts = cell.lstrip().startswith(("=", "+", "-", "@")) or cell.startswith(("\t", "\r"))
    text = f"'{cell}" if acts else cell
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )
