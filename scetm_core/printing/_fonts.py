"""Which fonts are installed, and how wide is a piece of text in one of them?"""

from __future__ import annotations

import functools

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from scetm_core.errors import ConfigError

FALLBACK = "DejaVu Sans"
ALIKE = {
    "Arial": ("Arial", "Liberation Sans", "Arimo", "Helvetica"),
    "Helvetica": ("Helvetica", "Liberation Sans", "Arial", "Arimo"),
    "Times New Roman": ("Times New Roman", "Liberation Serif", "Tinos", "Times"),
}
"""Family -> installed families that may stand in for it, as their letters are as wide."""
OFFERED = (
    "Arial", "Helvetica", "Helvetica Neue", "Liberation Sans", "Open Sans", "Roboto", "Source Sans 3", "Noto Sans",
    FALLBACK, "Times New Roman", "Times", "Liberation Serif", "DejaVu Serif",
)  # fmt: skip


@functools.lru_cache(maxsize=1)
def installed() -> frozenset[str]:
    """Families that matplotlib finds."""
    return frozenset(entry.name for entry in font_manager.fontManager.ttflist)


@functools.lru_cache(maxsize=1)
def families() -> tuple[str, ...]:
    """Families worth offering, the best default first."""
    return tuple(name for name in OFFERED if any(alike in installed() for alike in ALIKE.get(name, (name,))))


def drawn_with(family: str) -> str:
    """The installed family that text of this family is drawn with.

    Raises
    ------
    ConfigError
        If there is none.
    """
    for name in ALIKE.get(family, (family,)):
        if name in installed():
            return name
    if family == "Arial":
        return FALLBACK
    raise ConfigError(
        f"Font (font_family) '{family[:60]}' is not installed. Installed are: {', '.join(families())}.",
        field="font_family",
    )


@functools.lru_cache(maxsize=4096)
def properties(family: str, size: float, bold: bool, italic: bool) -> FontProperties:
    """A font as matplotlib wants it; signs that the family lacks come from the one that matplotlib brings."""
    chain = [family] if family == FALLBACK else [family, FALLBACK]
    return FontProperties(
        family=chain, size=size, weight="bold" if bold else "normal", style="italic" if italic else "normal"
    )


@functools.lru_cache(maxsize=16384)
def width_of(text: str, family: str, size: float, bold: bool, italic: bool) -> float:
    """Points from the first to the last letter."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties(family, 100.0, bold, italic), False)
    return float(width) * size / 100


@functools.lru_cache(maxsize=4096)
def is_known(sign: str, family: str) -> bool:
    """Whether the family, or the fallback, has this sign."""
    paths = [font_manager.findfont(FontProperties(family=name)) for name in (family, FALLBACK)]
    return any(font_manager.get_font(path).get_char_index(ord(sign)) for path in paths)


@functools.lru_cache(maxsize=16384)
def drawable(text: str, family: str) -> str:
    """The text with a box in the place of signs that no font has."""
    if text.isascii():
        return text
    return "".join(sign if sign.isascii() or is_known(sign, family) else "\u25a1" for sign in text)
