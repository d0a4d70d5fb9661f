"""Which commands take a run out of the app? `export`: figures and tables, `report`: a document, `recipe`: a script."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core.errors import ConfigError, RunError
from scetm_core.printing.settings import PrintSettings
from scetm_core.progress_bars import share_bar
from scetm_core.settings import SettingField, settings_of

if TYPE_CHECKING:
    from scetm_core.gallery import Shown
    from scetm_core.runs import Run

FORMATS = ("svg", "png", "pdf", "html")
LIBRARY_FILE = "plotly.min.js"
INDEX_FILE = "index.csv"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 16px; font: 15px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; color: #1f2933;
  background: #fff; }}
h1 {{ font-size: 18px; margin: 0; }} p {{ margin: 4px 0 12px; color: #5c6773; max-width: 80ch; }}
.figure {{ max-width: {width}px; {height} }}
</style>
<script src="{library}"></script>
</head>
<body>
<h1>{title}</h1>
<p>{caption}</p>
<div class="figure">{figure}</div>
</body>
</html>
"""


def add_commands(commands: Any) -> None:
    """Offer `export`, `report` and `recipe` on a command line."""
    export = commands.add_parser("export", help="every figure of a run, each with the table behind it")
    export.add_argument("target", type=Path, metavar="RUN_DIR")
    export.add_argument("--out", type=Path, required=True, help="folder to write to")
    export.add_argument(
        "--format", choices=FORMATS, default="svg", help="html: interactive, without network (default: svg)"
    )
    group = export.add_argument_group(
        "settings of svg, png and pdf; by default as wide as one or two columns of a paper"
    )
    for entry in _print_options():
        flag, text = f"--{entry.name.replace('_', '-')}", f"{entry.setting.help} {entry.setting.range_in_words()}"
        how: dict[str, Any] = {"action": "store_true"} if entry.type is bool else {"type": entry.type}
        if entry.setting.choices:
            how["choices"] = entry.setting.choices
        group.add_argument(flag, dest=entry.name, default=None, help=text.replace("%", "%%").strip(), **how)
    export.set_defaults(run=run_export)

    report = commands.add_parser("report", help="a run as one HTML document, with methods for a paper")
    report.add_argument("target", type=Path, metavar="RUN_DIR")
    report.add_argument("--out", type=Path, required=True, help="the .html to write")
    report.set_defaults(run=run_report)

    recipe = commands.add_parser("recipe", help="the script, or notebook, that reproduces a run")
    recipe.add_argument("target", type=Path, metavar="RUN_DIR")
    recipe.add_argument("--out", type=Path, required=True, help="the .py or .ipynb to write")
    recipe.set_defaults(run=run_recipe)


def _print_options() -> list[SettingField]:
    """The settings of the print engine; the title is each figure's own."""
    return [entry for entry in settings_of(PrintSettings) if entry.name != "title"]


def run_export(options: argparse.Namespace) -> int:
    """Write every figure and its table; print what could not be drawn, and where all is."""
    from scetm_core.gallery import figures_of, write_figure_table
    from scetm_core.runs import Run

    given = {entry.name: value for entry in _print_options() if (value := getattr(options, entry.name)) is not None}
    if given and options.format == "html":
        raise ConfigError(
            f"{', '.join(sorted(given))}: interactive figures fill their window. Leave these options out."
        )
    run, out, left_out = Run(options.target), options.out, list[str]()
    PrintSettings(**given)  # says what is wrong before anything is drawn
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with share_bar() as show:
        for shown in figures_of(run, left_out=left_out, on_progress=show):
            file = out / f"{shown.name}.{options.format}"
            if options.format == "html":
                write_page(shown, file)
            else:
                _write_print(shown, file, options.format, given)
            table = write_figure_table(shown, out)
            rows.append([file.name, table.name, shown.section, shown.title, shown.caption])
    with (out / INDEX_FILE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["figure", "table", "section", "title", "caption"])
        writer.writerows(rows)
    for sentence in left_out:
        print(f"left out: {sentence}")
    print(f"{out}: {len(rows)} figures with their tables, listed in {INDEX_FILE}")
    return 0


def _write_print(shown: Shown, file: Path, file_format: str, given: dict[str, Any]) -> None:
    from scetm_core.printing import render
    from scetm_core.report import print_settings

    settings = dataclasses.replace(print_settings(shown), **given)
    file.write_bytes(render(shown.figure, settings, file_format=file_format))


def write_page(shown: Shown, file: Path) -> None:
    """Write an interactive figure; the library that draws it lies beside, once for all of a folder."""
    from plotly.offline import get_plotlyjs

    from scetm_core.figures import GRAPH_CONFIG

    library = file.with_name(LIBRARY_FILE)
    if not library.is_file():
        library.write_text(get_plotlyjs(), encoding="utf-8")
    config = {**GRAPH_CONFIG, "displayModeBar": "hover", "scrollZoom": True}
    drawn = shown.figure.to_html(
        full_html=False, include_plotlyjs=False, include_mathjax=False, config=config, div_id=f"figure-{shown.name}"
    )
    own_height = shown.figure.layout.height
    page = PAGE.format(
        title=html.escape(shown.title),
        caption=html.escape(shown.caption),
        width=1100 if shown.is_wide else 760,
        height="" if own_height else "height: min(760px, 86vh);",
        library=LIBRARY_FILE,
        figure=drawn,
    )
    file.write_text(page, encoding="utf-8")


def run_report(options: argparse.Namespace) -> int:
    """Write the report."""
    from scetm_core.report import write_report

    if options.out.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"A report is an .html file, not {options.out.suffix or 'a file without ending'}.")
    with share_bar() as show:
        write_report(_run_of(options), options.out, on_progress=show)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


def run_recipe(options: argparse.Namespace) -> int:
    """Write the recipe, and print the command line that does the same."""
    from scetm_core.recipe import command_line, write_recipe

    run = _run_of(options)
    write_recipe(run, options.out)
    print(command_line(run))
    return 0


def _run_of(options: argparse.Namespace) -> Run:
    from scetm_core.runs import Run

    return Run(options.target)
