"""How do I train a model, and how is it going? A form without a run in the URL; with one, its live view."""

from __future__ import annotations

import dash
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.parts import broken_run, empty_state, link_button, page
from pages._train import form, live
from scetm_core.errors import RunError
from scetm_core.runs import open_run

dash.register_page(__name__, path="/train", name="Train", title="Train · scETM Studio", order=20, group="Prepare")

QUESTION = "Which settings, and is it learning?"


def layout(run: str | None = None, file: str | None = None, **_: str) -> Component:
    """The form, or the live view of a run."""
    if run is None:
        return page("Train", QUESTION, form.layout(file))
    new = link_button("New run", "/train", variant="default")
    try:
        shown = open_run(studio.current().runs_folder, run)
        if not shown.config.is_trained:
            way = link_button("Go to the transfer", f"/transfer?run={run}", variant="filled")
            text = "It applies the model of another run as it is, so there is no training to look at."
            return page("Train", QUESTION, empty_state("This run is a transfer", text, way), actions=[new])
        return page("Train", QUESTION, live.layout(shown), actions=[*live.buttons(shown), new])
    except RunError as error:
        return broken_run("Train", QUESTION, error, new)
