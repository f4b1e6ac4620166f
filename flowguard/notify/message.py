"""A message: a title, lines and links, as plain text and as HTML. Whatever stood in a cell is text and does nothing."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Literal

from flowguard.explain.words import visible

LONGEST = 160
"""Characters of a text from data; a message is for a glance."""
MOST = 1800
"""Characters of a whole text: what the shortest of the usual chats takes in one piece."""
Mood = Literal["info", "warning", "failure"]
# Signs by which a chat would call people or follow a link, and signs that look like them and do nothing.
_ACTING = str.maketrans({"<": "‹", ">": "›", "@": "＠", "`": "ˋ", "*": "∗", "[": "［", "]": "］", "|": "¦"})


@dataclass(frozen=True)
class Line:
    """A line of a message, with a link where there is one to follow; `link` is ours, `text` may hold cells."""

    text: str = ""
    link: str = ""


@dataclass(frozen=True)
class Message:
    """What people read. Every text in it is `harmless` already."""

    title: str
    lines: tuple[Line, ...]
    mood: Mood = "warning"

    @property
    def text(self) -> str:
        """As plain text. Lines that would make it too long are left out, the last one stays: it leads to all."""
        pieces = [": ".join(part for part in (line.text, line.link) if part) for line in self.lines]
        return "\n".join(_fitting(pieces))

    @property
    def html(self) -> str:
        """As HTML, for mail: nothing but lines and links."""
        return "<br>\n".join(_html(line) for line in self.lines)


def harmless(text: object, longest: int = LONGEST) -> str:
    """One line of text out of data, without anything that acts in a chat or in a mail.

    >>> harmless("<!channel> see http://evil.example @here\\nor *else*")
    '‹!channel› see http：//evil.example ＠here or ∗else∗'
    """
    said = visible(" ".join(str(text).split()))
    if len(said) > longest:
        said = said[: longest - 1] + "…"
    said = re.sub(r"\bwww\.", lambda match: match[0].replace(".", "․"), said, flags=re.IGNORECASE)
    return said.replace("://", "：//").translate(_ACTING)


def _fitting(pieces: list[str]) -> list[str]:
    if sum(len(piece) + 1 for piece in pieces) <= MOST:
        return pieces
    last, kept, room = pieces[-1], [], MOST - len(pieces[-1]) - 3
    for piece in pieces[:-1]:
        room -= len(piece) + 1
        if room < 0:
            break
        kept.append(piece)
    return [*kept, "…", last]


def _html(line: Line) -> str:
    if not line.link:
        return html.escape(line.text)
    return f'<a href="{html.escape(line.link)}">{html.escape(line.text or line.link)}</a>'
