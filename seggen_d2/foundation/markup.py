"""HTML from Python values: text is escaped, markup is a type of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable


class Markup(str):
    """HTML that is ready; any other string is text, and gets escaped."""


def tag(name: str, *content: str | Iterable[str], **attributes: str | float | None) -> Markup:
    """An element. ``class_`` stands for ``class``, ``_`` in names for ``-``; attributes of None are left out."""
    shown = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key}="{html.escape(str(value))}"' for key, value in shown.items())
    if name in ("img", "br", "line", "circle", "rect"):
        return Markup(f"<{name}{opening}>" if name in ("img", "br") else f"<{name}{opening}/>")
    return Markup(f"<{name}{opening}>{join(*content)}</{name}>")


def join(*content: str | Iterable[str]) -> Markup:
    """One piece of markup from strings, markup, and iterables of them."""
    pieces = (part if isinstance(part, str) else join(*part) for part in content)
    return Markup("".join(piece if isinstance(piece, Markup) else html.escape(piece) for piece in pieces))


def table(header: Iterable[str], rows: Iterable[Iterable[str]], class_: str | None = None) -> Markup:
    """A table; a cell is text, or a whole ``td`` or ``th`` as markup. The first text cell of a row heads it."""
    head = tag("tr", [_cell(cell, "th", scope="col") for cell in header])
    body = [
        tag("tr", [_cell(cell, "td" if place else "th", None if place else "row") for place, cell in enumerate(row)])
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body), class_=class_), class_="scroll")


def _cell(content: str, name: str, scope: str | None = None) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return tag(name, content, scope=scope)
