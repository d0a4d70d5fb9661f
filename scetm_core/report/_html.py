"""How is a document written so that no name in it is taken for markup? Elements from functions; texts are escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


class Html(str):
    """Text that is markup already; all other texts are escaped where they are put."""

    __slots__ = ()


VOID = ("meta", "br", "img")


def tag(element: str, /, *children: str | None, **attributes: str | None) -> Html:
    """An element with its children; an attribute called `class_` is the class, one that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = joined(children)
    return Html(f"<{element}{given}>" if element in VOID else f"<{element}{given}>{inside}</{element}>")


def joined(parts: Iterable[str | None]) -> Html:
    """Texts and elements, one after the other."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts if part is not None))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, class_: str = "") -> Html:
    """A table; wide ones scroll by themselves on a narrow screen."""
    top = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in head)))
    body = tag("tbody", *(tag("tr", *(tag("td", text) for text in row)) for row in rows))
    return tag("div", tag("table", top, body, class_=class_ or None), class_="scrolls")


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """A list of what is known, each with its name."""
    return tag("dl", *(part for name, value in rows for part in (tag("dt", name), tag("dd", value))))


def sentences(texts: Iterable[str]) -> Html | None:
    """A list of sentences; nothing for none."""
    items = [tag("li", text) for text in texts]
    return tag("ul", *items) if items else None


_ID = re.compile(r'(\sid=")([^"]+)(")')
_HREF = re.compile(r'((?:xlink:)?href="#)([^"]+)(")')
_URL = re.compile(r"(url\(['\"]?#)([^)'\"]+)(['\"]?\))")


def inline_svg(svg: str, *, prefix: str, label: str) -> Html:
    """An SVG file as an element of a page: without its XML head, with ids of its own, as wide as its place."""
    body = svg[svg.index("<svg") :]
    for pattern in (_ID, _HREF, _URL):
        body = pattern.sub(rf"\g<1>{prefix}-\g<2>\g<3>", body)
    open_end = body.index(">")
    opening = re.sub(r'\s(?:role|aria-label|style)="[^"]*"', "", body[:open_end])
    return Html(f'{opening} role="img" aria-label="{html.escape(label)}"{body[open_end:]}'.strip())
