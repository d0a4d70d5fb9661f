"""How is the model trained? `fit` is a generator: every few steps it yields a record, and the caller decides what next.

What happens in one step: `scetm_core.trainer`. What is kept on disk: `scetm_core.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from scetm_core.checkpoints import read_checkpoint, write_checkpoint
from scetm_core.config import TrainConfig
from scetm_core.model import ScETM
from scetm_core.model.cells import CellData, prepare_cells
from scetm_core.model.ranks import ALONE, Ranks
from scetm_core.trainer import Record, Trainer

__all__ = ["Record", "fit"]


def fit(
    model: ScETM,
    data: CellData,
    config: TrainConfig,
    *,
    batch_key: str | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    start: bool = True,
    ranks: Ranks = ALONE,
) -> Generator[Record, None, None]:
    """Train `model` in place, yielding a `Record` every `config.report_every` steps and at the end.

    Closing the generator stops training; with `checkpoints` the state is kept after the first yield at least
    `config.checkpoint_every` steps after the last checkpoint, at the end, and when the generator is closed.

    Parameters
    ----------
    model
        On the device to train on.
    data
        Counts in X with the model's genes in its order, no empty cells (what `load_dataset` returns).
    batch_key
        Column of obs with the batches the model knows; None for a model of one batch.
    checkpoints
        Folder for checkpoints; none are written without it.
    resume
        Go on from the newest readable checkpoint there, if any.
    start
        Begin as the model's settings say, from the data or from N(0, 1). False: from the weights as they are, which
        then must not need a reference (`anchor_weight` and `mmd_weight` 0).
    ranks
        The processes that train this model together: each calls this with the same model, data and settings. The
        first one starts the model, or reads the checkpoint, and writes.

    Raises
    ------
    DataError
        If data and model do not fit.
    TrainingError
        If the loss is not finite, and is not again at a lower learning rate.
    """
    trainer = Trainer(model, prepare_cells(data, model, batch_key=batch_key), config, ranks=ranks)
    checkpoints, found = checkpoints if ranks.is_first else None, None
    if resume and checkpoints is not None:
        found = read_checkpoint(checkpoints, names=model.description()["names"], device=model.device)
    if found is not None:
        trainer.restore(found)
    elif start and ranks.is_first:
        trainer.initialise()
    trainer.follow_first()
    saved = trainer.step
    try:
        while not trainer.finished:
            yield trainer.advance()  # before the checkpoint: a kill in between must not cost the curve a point
            if checkpoints is not None and (trainer.finished or trainer.step - saved >= config.checkpoint_every):
                write_checkpoint(checkpoints, trainer.checkpoint(), description=model.description())
                saved = trainer.step
    except GeneratorExit:
        if checkpoints is not None and trainer.step > saved:
            write_checkpoint(checkpoints, trainer.checkpoint(), description=model.description())
        raise
    finally:
        trainer.close()
        model.eval()
