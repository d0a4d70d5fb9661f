"""How does a run read as one document? An HTML file that needs no network and no script: figures are drawings in it.

It can be kept beside a paper, printed, and read on a phone; whatever a name holds, it is text and never markup.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core import __version__
from scetm_core.errors import RunError
from scetm_core.files import is_disk_full, write_atomically
from scetm_core.gallery import Shown, figures_of
from scetm_core.printing.settings import PrintSettings
from scetm_core.report._facts import Facts, facts_of
from scetm_core.report._html import Html, inline_svg, joined, tag
from scetm_core.report._methods import methods_paragraphs
from scetm_core.report._sections import Section, sections_of
from scetm_core.runs import Run
from scetm_core.score_words import SCORE_WORDS, number_in_words

if TYPE_CHECKING:
    import anndata as ad

__all__ = ["methods_of", "print_settings", "report_html", "write_report"]

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""

WIDE_MM, HALF_MM = 174.0, 85.0
"""Two columns of a paper, and one."""
BITMAP_DPI = 200
GLANCE = ("best_ari", "best_nmi", "kbet", "test_nll", "topic_coherence", "topic_diversity")
STYLE = Path(__file__).with_name("style.css")


def methods_of(run: Run, *, result: ad.AnnData | None = None) -> list[str]:
    """The paragraphs for the methods of a paper, from the actual settings of a run.

    Parameters
    ----------
    result
        Of the run, if it is loaded already.

    Raises
    ------
    RunError
        If the run has no result, or is damaged.
    """
    return methods_paragraphs(facts_of(run, result=result))


def write_report(run: Run, path: Path, *, on_progress: Progress | None = None) -> None:
    """Write the report of a run.

    Raises
    ------
    RunError
        If the run has no result or is damaged, or the file cannot be written; an earlier one stays.
    """
    text = report_html(run, on_progress=on_progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        reason = "the disk is full. Free some space" if is_disk_full(error) else error.strerror or str(error)
        raise RunError(f"Cannot write the report {path}: {reason}.") from error


def report_html(run: Run, *, on_progress: Progress | None = None) -> str:
    """The report of a run as one HTML document.

    Raises
    ------
    RunError
        If the run has no result, or is damaged.
    """
    facts = facts_of(run)
    drawn: dict[str, list[Html]] = {}
    left_out: list[str] = []
    for number, shown in enumerate(figures_of(run, left_out=left_out, on_progress=on_progress)):
        drawn.setdefault(shown.section, []).append(_figure(shown, number))
    sections = sections_of(facts, drawn, left_out)
    title = f"{facts.config.name}: report"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"scETM Studio {__version__}"),
        tag("title", title),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body", _header(facts), _contents(sections), tag("main", *(_section(part) for part in sections)), _foot()
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def print_settings(shown: Shown) -> PrintSettings:
    """How a figure is printed unless it is said: over two columns or one, there with its legend below."""
    if shown.is_wide:
        return PrintSettings(width_mm=WIDE_MM)
    return PrintSettings(width_mm=HALF_MM, legend="below")


def _figure(shown: Shown, number: int) -> Html:
    """A figure with its words below it; many points are a bitmap in it, which keeps the document small."""
    from scetm_core.printing import render

    settings = dataclasses.replace(print_settings(shown), dpi=BITMAP_DPI, transparent=True)
    svg = render(shown.figure, settings, file_format="svg").decode("utf-8")
    drawing = inline_svg(svg, prefix=f"f{number}", label=shown.title)
    caption = tag("figcaption", tag("b", shown.title), " ", shown.caption)
    size = "wide" if shown.is_wide else "half"
    return tag("figure", tag("div", drawing, class_="paper"), caption, class_=size, id=f"figure-{shown.name}")


def _header(facts: Facts) -> Html:
    made = dt.datetime.fromtimestamp(facts.created_at).strftime("%d %B %Y, %H:%M")
    config = facts.config
    kind = "A transfer" if config.transfer is not None else "A single-cell embedded topic model"
    size = f"{facts.n_cells:,} cells and {facts.n_genes:,} genes with {config.model.n_topics:,} topics"
    words = f"{kind} of {size}. Run of {made}."
    known = [
        (SCORE_WORDS[name].label, number_in_words(facts.scores[name]))
        for name in GLANCE
        if facts.scores.get(name) is not None
    ]
    cards = (tag("div", tag("b", value), tag("span", label)) for label, value in known)
    return tag(
        "header", tag("h1", config.name), tag("p", words), tag("div", *cards, class_="glance") if known else None
    )


def _contents(sections: list[Section]) -> Html:
    links = (tag("li", tag("a", part.title, href=f"#{part.anchor}")) for part in sections)
    return tag("nav", tag("h2", "Contents"), tag("ol", *links), aria_label="Contents")


def _section(part: Section) -> Html:
    return tag("section", tag("h2", part.title), joined(part.content), id=part.anchor)


def _foot() -> Html:
    return tag(
        "footer", f"Written by scETM Studio {__version__}. Figures are drawings: they can be enlarged without loss."
    )
