"""A page of this room: one HTML file with its style, made from a template of its content."""

from __future__ import annotations

import string
from importlib import resources

import seggen_d2
from seggen_d2.foundation.markup import Markup, join


def document(template: str, *, title: str, **parts: Markup) -> str:
    """The HTML document whose content is ``page/TEMPLATE.html`` with ``parts``, the title and the version put in."""
    head = {"title": join(title), "style": resource("report.css")}
    body = string.Template(resource(f"{template}.html")).substitute(title=join(title), version=join(seggen_d2.__version__), **parts)
    return string.Template(resource("page.html")).substitute(head, body=body.rstrip())


def resource(name: str) -> str:
    """A text file of the page."""
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")
