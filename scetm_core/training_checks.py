"""Do the settings of a training suit the model, the data and this computer? Some cannot be, some have no effect."""

from __future__ import annotations

import logging

from scetm_core.config import TrainConfig
from scetm_core.errors import ConfigError
from scetm_core.model import ScETM
from scetm_core.model.likelihood import has_fast_bfloat16
from scetm_core.model.ranks import GROUP

log = logging.getLogger("scetm")


def uses_low_precision(model: ScETM, config: TrainConfig) -> bool:
    """Whether large products are taken in bfloat16: where it is asked for and fast."""
    has_use = model.device.type == "cpu" and has_fast_bfloat16() and not model.config.normalise_beta
    return config.precision == "mixed" and has_use


def say_what_has_no_effect(model: ScETM, config: TrainConfig) -> None:
    """Log settings that these data, or this computer, leave without effect."""
    if config.precision == "mixed" and not uses_low_precision(model, config):
        log.info("Precision 'mixed' has no use here (a GPU, a processor without fast bfloat16, or topics normalised).")
    if len(model.batches) < 2 and (config.mmd_weight > 0 or config.adversary_weight > 0):
        log.info("There is one batch only: Batch mixing and Adversary have nothing to do.")


def refuse_empty_shares(n_cells: int, n_processes: int) -> None:
    """Refuse so many processes where one of them would get no cell of a minibatch.

    Raises
    ------
    ConfigError
        Saying what to change.
    """
    if GROUP * (n_processes - 1) >= n_cells:
        raise ConfigError(
            f"{n_processes} processes (n_processes) cannot share minibatches of {n_cells} cells, {GROUP} at a time. "
            "Raise Minibatch size (minibatch_size), or start fewer processes.",
            field="n_processes",
        )
