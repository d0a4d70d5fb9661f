"""Is the report one file that needs nothing else, tells what the run holds, and takes names for what they are?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.errors import RunError
from scetm_core.presets import PRESETS
from scetm_core.report import methods_of, report_html, write_report
from scetm_core.report._html import Html, inline_svg, tag
from scetm_core.report._methods import DOI, preset_of
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of
from tests.published import HOSTILE, hand_made_run, write_map


class Read(HTMLParser):
    """All elements with their attributes, and all text, of a document."""

    VOID = ("meta", "img", "br", "path", "rect", "circle", "image", "use", "line")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def with_attribute(self, name: str) -> Iterator[tuple[str, str]]:
        return ((tag, attrs[name]) for tag, attrs in self.elements if name in attrs)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = hand_made_run(tmp_path_factory.mktemp("report"), name=HOSTILE)
    made.write_topic_names({"topic_0": HOSTILE, "topic_1": "beta cells"})
    result = made.load_result()
    result.obs["cell_type"] = result.obs["cell_type"].cat.rename_categories(
        {str(result.obs["cell_type"].cat.categories[0]): HOSTILE}
    )
    made.write_result(result)
    write_map(made)
    return made


@pytest.fixture(scope="module")
def document(run: Run) -> str:
    return report_html(run)


@pytest.fixture(scope="module")
def read(document: str) -> Read:
    return Read(document)


# ---- one file, offline, no script ---------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(document: str, read: Read) -> None:
    loaded = [value for name in ("src", "data", "poster", "srcset", "action") for _, value in read.with_attribute(name)]
    assert all(value.startswith("data:") for value in loaded)
    linked = [(tag, value) for name in ("href", "xlink:href") for tag, value in read.with_attribute(name)]
    assert all(tag == "a" or value.startswith(("#", "data:")) for tag, value in linked)
    assert [value for tag, value in linked if value.startswith("http")] == [f"https://doi.org/{DOI}"]
    assert not re.search(r"@import|url\(\s*['\"]?(?!#|data:)", document)


def test_there_is_no_script_at_all(document: str, read: Read) -> None:
    assert not {name for name, _ in read.elements} & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not [name for _, attrs in read.elements for name in attrs if name.startswith("on")]
    assert "javascript:" not in document


def test_every_link_within_leads_somewhere_and_no_id_is_used_twice(document: str, read: Read) -> None:
    ids = [value for _, value in read.with_attribute("id")]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for _, value in read.with_attribute("href") if value.startswith("#")}
    wanted |= set(re.findall(r"url\(['\"]?#([^)'\"]+)", document))
    assert wanted <= set(ids)


def test_names_with_markup_are_text(document: str, read: Read) -> None:
    assert "<script" not in document
    assert "alert('x')" not in document.replace("&lt;script&gt;alert(&#x27;x&#x27;)", "") or "<script>" not in document
    assert HOSTILE in read.text  # as it is to be read
    assert next(attrs for name, attrs in read.elements if name == "html")["lang"] == "en"


def test_it_reads_on_a_phone_and_in_the_dark(document: str, read: Read) -> None:
    metas = [attrs for name, attrs in read.elements if name == "meta"]
    assert any(attrs.get("name") == "viewport" and "width=device-width" in attrs["content"] for attrs in metas)
    assert "prefers-color-scheme: dark" in document
    assert "@media print" in document


# ---- what it tells ------------------------------------------------------------------------------------------------


def test_the_contents_name_every_section(read: Read) -> None:
    for title in ("Data", "Settings", "Training", "Scores", "Cells", "Topics", "Gene sets", "Differential topics",
                  "Methods", "How to reproduce this"):  # fmt: skip
        assert title in read.text


def test_the_data_are_told_with_hash_and_what_was_left_out(run: Run, read: Read) -> None:
    assert run.input["sha256"] in read.text
    assert str(run.input["path"]) in read.text
    assert f"{run.input['size']:,} bytes" in read.text
    assert "3 genes without a count in any cell left out." in read.text
    assert "60 cells and 30 genes with 6 topics" in read.text


def test_settings_that_differ_are_told_with_their_default(document: str) -> None:
    assert re.search(r"<td>Number of topics</td><td><b>6</b></td><td>50</td>", document)
    assert re.search(r"<td>Seed</td><td>0</td><td></td>", document)


def test_scores_come_with_meaning_and_direction(document: str, read: Read) -> None:
    row = re.search(r"<tr><td>kBET</td>(.*?)</tr>", document)
    assert row is not None
    assert ".50" in row[1]
    assert "higher, 0 to 1" in row[1]
    assert "Share of cells whose neighbours" in row[1]
    held_out = re.search(r"<tr><td>Held-out NLL</td>(.*?)</tr>", document)
    assert held_out is not None
    assert "lower" in held_out[1]


def test_topics_come_with_names_and_leading_genes(run: Run, read: Read) -> None:
    result = run.load_result()
    leader = result.var_names[result.varm[keys.BETA][:, 1].argmax()]
    assert "beta cells" in read.text
    assert leader in read.text


def test_every_figure_is_a_drawing_with_its_caption(document: str, read: Read) -> None:
    figures = [attrs for name, attrs in read.elements if name == "figure"]
    drawings = [attrs for name, attrs in read.elements if name == "svg" and attrs.get("role") == "img"]
    assert len(figures) == len(drawings) > 10
    assert all(attrs["aria-label"] for attrs in drawings)
    assert document.count("<figcaption>") == len(figures)


def test_many_points_are_a_bitmap_inside(run: Run) -> None:
    from scetm_core.gallery import Shown
    from scetm_core.report import _figure

    def drawn(n_points: int) -> str:
        rng = np.random.default_rng(0)
        figure = go.Figure(go.Scattergl(x=rng.normal(size=n_points), y=rng.normal(size=n_points), mode="markers"))
        words = {"name": "a", "section": "Cells", "title": "t", "caption": "c."}
        return _figure(Shown(**words, is_wide=False, figure=figure, table=pd.DataFrame()), 0)

    few, many = drawn(500), drawn(60_000)
    assert "data:image/png;base64," not in few
    assert "data:image/png;base64," in many
    assert len(many) < 1_000_000


def test_what_is_not_shown_is_told(tmp_path: Path) -> None:
    text = Read(report_html(hand_made_run(tmp_path, tables=False))).text
    assert "What is not shown" in text
    assert "no gene sets were compared with the topics yet" in text


# ---- methods ------------------------------------------------------------------------------------------------------


def methods(**changes: Any) -> Callable[[Path], str]:
    """The methods of a hand-made run with some settings changed."""

    def words(folder: Path) -> str:
        data, path = planted_data(), folder / "planted.h5ad"
        data.write_h5ad(path)
        flat = {"name": "m", "path": str(path), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30, **changes}
        config = run_config_from_flat(flat)
        made = Run.create(folder / "run", config)
        finish(made, result_of(data, config))
        return " ".join(methods_of(made))

    return words


def test_the_methods_give_the_numbers_of_the_settings(tmp_path: Path) -> None:
    changes = {"n_emb": 77, "learning_rate": 0.0123, "minibatch_size": 48, "test_fraction": 0.2, "seed": 11}
    words = methods(**changes, n_hidden=19)(tmp_path)
    for part in (
        "60 cells and 30 genes", "6 topics", "77 dimensions", "0.0123", "30 steps of 48 cells", "20% of the cells",
        "seed was 11", "19 units", "Zhao et al., 2021", "'batch' (", "labels in 'cell_type' were not used",
    ):  # fmt: skip
        assert part in words


@pytest.mark.parametrize(
    ("changes", "there", "not_there"),
    [
        pytest.param({}, "intercept per batch and gene", "scETM - lambda", id="intercept"),
        pytest.param({"batch_intercept": False}, "scETM - lambda", "intercept per batch and gene", id="no intercept"),
        pytest.param({"adversary_weight": 2.5}, "opposed with weight 2.5 (scETM + adv)", "discrepancy", id="adversary"),
        pytest.param({"mmd_weight": 4.0}, "maximum mean discrepancy of weight 4", "discriminator", id="mixing"),
        pytest.param({"rho_gmt": "/x/reactome.gmt"}, "gene sets of reactome.gmt", "shared an embedding", id="pathways"),
        pytest.param({"batch_key": None}, "No batch column was given", "intercept", id="no batches"),
        pytest.param({"weight_decay": 0.5}, "AdamW (weight decay 0.5)", "by Adam with", id="decay"),
        pytest.param({"max_kl_weight": 0.0}, "Kullback-Leibler term was left out", "rose linearly", id="no prior"),
        pytest.param({"encoder_input": "hvg"}, "30 highly variable genes", "share of the counts of", id="input"),
        pytest.param({"start": "data"}, "began as clusters", "N(0, 1)", id="start"),
        pytest.param({"likelihood": "counts"}, "multinomial", "divided by their sum", id="likelihood"),
        pytest.param({"test_fraction": 0.0}, "No cell was held out", "% of the cells", id="nothing held out"),
    ],
)
def test_the_methods_follow_the_variant(changes: dict[str, Any], there: str, not_there: str, tmp_path: Path) -> None:
    words = methods(**changes)(tmp_path)
    assert there in words
    assert not_there not in words


def test_the_methods_tell_what_was_permuted_how_often(run: Run) -> None:
    words = " ".join(methods_of(run))
    assert "50 random sets for each topic and set size" in words
    assert "Benjamini-Hochberg" in words
    assert "2,000 random permutations of the labels over cells" in words
    assert "Bonferroni over 6 topics" in words
    for name, version in run.versions.items():
        assert f"{name} {version}" in words


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_recognised_and_one_setting_off_it_is_not(name: str) -> None:
    preset = PRESETS[name]
    config = run_config_from_flat({"path": "x.h5ad", **preset.values})
    assert preset_of(config) == preset.label
    free = {**preset.values, "n_topics": 12, "seed": 3}
    assert preset_of(run_config_from_flat({"path": "x.h5ad", **free})) == preset.label
    for other in ({"max_steps": 7}, {"dropout": 0.3}):
        assert preset_of(run_config_from_flat({"path": "x.h5ad", **preset.values, **other})) == ""


# ---- files and errors ---------------------------------------------------------------------------------------------


def test_a_run_without_a_result_is_refused(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    made.result_path.unlink()
    with pytest.raises(RunError, match="has no result yet"):
        write_report(made, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_tables_made_by_an_older_version_need_no_request(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path)
    for folder in (keys.DIFFERENTIAL_FOLDER,):
        for path in made.tables(folder).values():
            table = pd.read_parquet(path)
            table.attrs = {}
            table.to_parquet(path)
    assert "Differential topics" in Read(report_html(made)).text


def test_elements_escape_what_is_no_markup() -> None:
    assert tag("p", "<b>", tag("i", "a & b"), title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;<i>a &amp; b</i></p>'
    assert isinstance(tag("p"), Html)


def test_ids_of_drawings_do_not_meet() -> None:
    svg = '<?xml version="1.0"?><svg viewBox="0 0 1 1"><clipPath id="c"/><g clip-path="url(#c)"/><use href="#c"/></svg>'
    found = inline_svg(svg, prefix="f1", label='a "label"')
    assert 'id="f1-c"' in found
    assert "url(#f1-c)" in found
    assert 'href="#f1-c"' in found
    assert 'aria-label="a &quot;label&quot;"' in found
