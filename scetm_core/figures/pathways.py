"""Which pathways does each topic use? Read directly from alpha where rho was fixed to gene sets."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._heatmap import name_rows, outline_topic, topic_heatmap
from scetm_core.figures._result import empty_frame, reason_of, topic_label, topic_names
from scetm_core.figures._theme import ACCENT, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

N_TOPICS_SHOWN = 12
NAME_WIDTH, NAME_LINES = 34, 2
"""Characters and lines of a pathway's name beside a heatmap; the hover label gives all of it."""
_DOWN, _UP = "#5b9bd0", "#e07f59"  # of `SIGNED_SCALE`

COLLECTIONS = {
    "REACTOME": "Reactome", "HALLMARK": "Hallmark", "KEGG": "KEGG", "KEGG_MEDICUS": "KEGG Medicus",
    "WP": "WikiPathways", "BIOCARTA": "BioCarta", "PID": "PID", "GO": "GO", "GOBP": "GO process",
    "GOCC": "GO component", "GOMF": "GO function",
}  # fmt: skip
"""Prefix of a set's name -> the collection it comes from."""
_ACRONYMS = {
    "ABC", "ADP", "AKT", "AMP", "AMPK", "AMPA", "AP", "APC", "ATF", "ATP", "BCR", "BMP", "CAMP", "CDC", "CDK",
    "CDP", "CENPA", "CFTR", "CGMP", "CNS", "CRMPS", "CTP", "DAG", "DNA", "EGF", "EGFR", "EMT", "ER", "ERAD", "ERK",
    "ES", "ESR", "FCERI", "FCGR", "FGF", "FGFR", "GABA", "GDP", "GIP", "GLP", "GPCR", "GPI", "GTP", "HATS", "HCMV",
    "HDL", "HDR", "HIF", "HIV", "HLA", "HSF", "HSL", "HSP", "IFN", "IGF", "II", "III", "IL", "IRS", "IV", "JAK",
    "JNK", "KSRP", "LDL", "LLO", "LPS", "MAPK", "MET", "MHC", "MTOR", "NAD", "NADH", "NCAM", "NFKB", "NGF", "NIK",
    "NMDA", "NOTCH", "NRAGE", "PDGF", "PDH", "PERK", "PI", "PIP", "PKA", "PKB", "PKC", "PLC", "PPAR", "PTEN",
    "RAF", "RAS", "RHEB", "RHO", "RNA", "ROS", "SCF", "SHC", "SLC", "SMAD", "SREBP", "STAT", "TCA", "TCR", "TGF",
    "TLR", "TNF", "TRP", "UPR", "UTR", "UV", "VEGF", "VI", "VLDL", "WNT",
}  # fmt: skip
_SPELLED = {
    "A": "a", "MRNA": "mRNA", "TRNA": "tRNA", "RRNA": "rRNA", "MIRNA": "miRNA", "SIRNA": "siRNA", "SNRNP": "snRNP",
    "TBID": "tBID", "CDNA": "cDNA", "SSDNA": "ssDNA", "DSRNA": "dsRNA", "GTPASE": "GTPase", "GTPASES": "GTPases",
    "ATPASE": "ATPase", "ATPASES": "ATPases",
}  # fmt: skip


def pathway_weights(result: ad.AnnData) -> pd.DataFrame:
    """Weights alpha of the gene sets that rho was fixed to, as gene sets x topics.

    Empty, with the reason in `attrs["reason"]`, if rho was not fixed to gene sets.
    """
    stored = result.uns.get(keys.UNS, {})
    names = [str(name) for name in np.atleast_1d(stored.get(keys.UNS_RHO_NAMES, []))]
    if keys.ALPHA not in result.uns or not names or _is_of_a_file(stored):
        return empty_frame("This run's gene embedding was not fixed to gene sets. Train one with 'Gene sets as rho'.")
    alpha = np.asarray(result.uns[keys.ALPHA])[:, : len(names)].T  # (n_sets, n_topics)
    if len(alpha) < len(names):
        return empty_frame(f"This result names {len(names):,} gene sets and holds weights of {len(alpha):,}.")
    return pd.DataFrame(alpha, index=pd.Index(names, name="gene_set"), columns=topic_names(alpha.shape[1]))


def _is_of_a_file(stored: Mapping[str, object]) -> bool:
    """Whether the named dimensions are those of an embedding read from a file, and no gene sets."""
    try:
        return bool(json.loads(str(stored.get(keys.UNS_CONFIG, "{}")))["model"]["rho_file"])
    except (ValueError, KeyError, TypeError):
        return False


def topics_in_use(result: ad.AnnData, *, n_topics: int = N_TOPICS_SHOWN) -> list[int]:
    """Numbers of the topics that explain most reads, at most `n_topics`, in the order of their numbers.

    Topics with less than half of an even share are left out.
    """
    share = np.asarray(result.obsm[keys.THETA]).mean(axis=0)
    largest = np.argsort(-share, kind="stable")[:n_topics]
    return sorted(int(topic) for topic in largest if share[topic] > 0.5 / len(share))


def pathway_topic_frame(result: ad.AnnData, *, n_sets: int = 5, topics: Sequence[int] | None = None) -> pd.DataFrame:
    """The leading pathways of each topic, and their weight in all topics shown (the paper's Figure 7b).

    Parameters
    ----------
    result
        Of a p-scETM: rho fixed to gene sets.
    n_sets
        Pathways taken from the top of each topic by alpha; one at the top of several is listed once.
    topics
        Numbers of the topics to show, in this order; by default all.

    Returns
    -------
    Gene sets x topics: alpha, signed. Rows follow the topics they lead, which makes the picture nearly diagonal.
    Empty, with `attrs["reason"]`, if rho was not fixed to gene sets or there is no such topic.
    """
    weights = pathway_weights(result)
    if weights.empty:
        return weights
    names = list(weights.columns) if topics is None else [keys.topic_name(topic) for topic in topics]
    if unknown := [name for name in names if name not in weights.columns]:
        return empty_frame(f"There is no {', '.join(unknown)}: topics run from 0 to {weights.shape[1] - 1}.")
    if not names:
        return empty_frame("No topic was chosen. Pick at least one.")
    shown = weights[names]
    leaders = np.argsort(-shown.to_numpy(), axis=0, kind="stable")[: max(n_sets, 1)].T.ravel()  # topic by topic
    return shown.iloc[list(dict.fromkeys(leaders.tolist()))]


def plot_pathway_topic_heatmap(
    frame: pd.DataFrame,
    *,
    keywords: Collection[str] = (),
    topic_names: Mapping[str, str] | None = None,
    selected_topic: int | None = None,
) -> go.Figure:
    """Draw pathways x topics: red where a topic makes a pathway's genes more likely, blue where less.

    Parameters
    ----------
    frame
        From `pathway_topic_frame`.
    keywords
        Pathways whose names hold one of these, in any letter case, are written in bold.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    selected_topic
        Number of the topic whose column gets a frame.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = topic_heatmap(
        frame,
        uirevision="pathway-topic",
        signed=True,
        unit="alpha",
        hover="%{text}<br>topic_%{x}: alpha %{z:.2f}",
        topic_names=topic_names,
    )
    figure.data[0].text = [[_full_name(name)] * frame.shape[1] for name in frame.index]
    names = _row_names(list(frame.index), keywords)
    name_rows(figure, names, row_height=28 if any("<br>" in name for name in names) else 18)
    if selected_topic is not None:
        outline_topic(figure, frame, selected_topic)
    return figure


def topics_of_pathway_frame(result: ad.AnnData, gene_set: str, *, n_topics: int = 20) -> pd.DataFrame:
    """The topics that weigh one pathway most.

    Returns
    -------
    `topic` ("topic_7"), `alpha` (signed), the largest first; `attrs["gene_set"]`. Empty, with `attrs["reason"]`, if
    there is no such gene set.
    """
    weights = pathway_weights(result)
    if weights.empty:
        return weights
    if gene_set not in weights.index:
        return empty_frame(f"This run's rho has no gene set called '{gene_set[:80]}'. Pick one from the list.")
    alpha = weights.to_numpy()[weights.index.get_loc(gene_set)]
    order = np.argsort(-alpha, kind="stable")[:n_topics]
    frame = pd.DataFrame({"topic": weights.columns[order], "alpha": alpha[order]})
    frame.attrs |= {"gene_set": gene_set}
    return frame


def plot_topics_of_pathway(frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None) -> go.Figure:
    """Draw one bar per topic, the one that weighs the pathway most on top.

    Parameters
    ----------
    frame
        From `topics_of_pathway_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    alpha = frame["alpha"].to_numpy()
    figure = new_figure(uirevision=f"topics-of-{frame.attrs['gene_set']}")
    figure.add_trace(
        go.Bar(
            x=alpha,
            y=np.arange(len(frame)),
            orientation="h",
            marker={"color": np.where(alpha < 0, _DOWN, _UP)},
            width=0.7,
            customdata=list(frame["topic"]),
            name="",
            hovertemplate="%{customdata}: alpha %{x:.2f}<extra></extra>",
        )
    )
    name_rows(figure, [topic_label(name, topic_names) for name in frame["topic"]], row_height=18)
    title = "<br>".join(textwrap.wrap(_full_name(frame.attrs["gene_set"]), 40))
    figure.update_xaxes(
        title={"text": f"alpha of {title}"}, nticks=6, zeroline=True, zerolinecolor="rgba(123, 135, 148, 0.6)"
    )
    figure.update_yaxes(range=[len(frame) - 0.5, -0.5], showgrid=False, ticks="", title={"text": "topic"})
    figure.update_layout(height=100 + 18 * len(frame), margin={"t": 12}, dragmode=False)
    return figure


def pathway_name(name: str) -> str:
    """A gene set's name for reading: ``"Glycogen breakdown glycogenolysis (Reactome)"``.

    Names in capitals and underscores lose both, but for acronyms and names of genes; the collection goes to the end.
    Other names stay as they are, with spaces for underscores.
    """
    name = name.rstrip("_") or name
    if not re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9.-]+)+", name):
        return name.replace("_", " ")
    prefix = next((known for known in sorted(COLLECTIONS, key=len, reverse=True) if name.startswith(f"{known}_")), "")
    words = [_word(word) for word in name.removeprefix(f"{prefix}_" if prefix else "").split("_")]
    words[0] = words[0][0].upper() + words[0][1:] if words[0].islower() else words[0]
    return " ".join(words) + (f" ({COLLECTIONS[prefix]})" if prefix else "")


def _word(word: str) -> str:
    """A word of a name in capitals, as one writes it: "RNA" and "FGFR4" stay, "PATHWAY" becomes "pathway"."""
    if word in _SPELLED:
        return _SPELLED[word]
    is_gene = any(letter.isdigit() for letter in word) and not re.fullmatch(r"[A-Z]{6,}\d", word)
    return word if len(word) == 1 or word in _ACRONYMS or is_gene else word.lower()


def _full_name(name: str) -> str:
    return plain_text(pathway_name(name))


def _row_names(names: Sequence[str], keywords: Collection[str]) -> list[str]:
    """Pathways beside their rows, bold where a keyword is in the name; the collection left out if all share it."""
    words = [keyword.strip().lower() for keyword in keywords if keyword.strip()]
    shown = [pathway_name(name) for name in names]
    endings = {name.partition(" (")[2] for name in shown}
    found = []
    for name, text in zip(names, shown, strict=True):
        short = text.partition(" (")[0] if len(endings) == 1 else text
        lines = textwrap.wrap(short, NAME_WIDTH, max_lines=NAME_LINES, placeholder=" …")
        label = "<br>".join(plain_text(line) for line in lines)
        is_marked = any(word in f"{name} {text}".lower() for word in words)
        found.append(f"<b><span style='color:{ACCENT}'>{label}</span></b>" if is_marked else label)
    return found
