"""What does an address ask of a page? One text for each name, whatever stands there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dash
from dash.development.base_component import Component

MAX_LENGTH = 2000


def take_plain_queries() -> None:
    """Let every page have its queries as it expects them: Dash gives a list where a name is there twice."""
    for entry in dash.page_registry.values():
        entry["layout"] = with_plain_queries(entry["layout"])


def with_plain_queries(layout: Callable[..., Component]) -> Callable[..., Component]:
    """A page whose queries are texts of at most `MAX_LENGTH` letters: of several, the first."""

    def show(**query: Any) -> Component:
        firsts = {name: value[0] if isinstance(value, list) else value for name, value in query.items() if name}
        return layout(**{name: text and str(text)[:MAX_LENGTH] for name, text in firsts.items()})

    return show
