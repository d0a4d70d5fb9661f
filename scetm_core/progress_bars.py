"""How far is it? Bars on a terminal; nothing where the output is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scetm_core.jobfolder import Status


class StepBar:
    """Steps done, pace and time left of a run, on stderr."""

    def __init__(self, max_steps: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=max_steps, unit="step", disable=None, file=sys.stderr)

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def show(self, status: Status) -> None:
        """Move to where the run stands."""
        self.bar.set_description(status.stage)
        self.bar.update(status.step - self.bar.n)


@contextlib.contextmanager
def share_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar of the share done, on stderr."""
    from tqdm import tqdm

    bar_format = "{desc} {percentage:3.0f}%|{bar}| {remaining} left"
    with tqdm(total=100, disable=None, file=sys.stderr, bar_format=bar_format) as bar:

        def show(share: float, message: str) -> None:
            bar.set_description_str(message)
            bar.update(round(100 * share) - bar.n)

        yield show
