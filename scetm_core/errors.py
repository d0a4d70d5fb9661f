"""What can go wrong, and how is it said?

Every error a user can cause derives from `ScetmError`, and its text says where, what and what to do, so a page
or a terminal can show it as it is::

    ScetmError
    ├── DataError        the input file or its counts cannot be used
    ├── ConfigError      a setting is out of range, unknown or contradictory
    ├── TrainingError    training could not go on (non-finite loss, no memory)
    ├── TransferError    a trained model cannot be given these cells
    ├── FigureError      a figure cannot be drawn for paper
    ├── RunError         a run folder is missing, busy, damaged or cannot be written
    └── AccessError      nobody is signed in, or an account may not do what it asks for

Anything else that escapes is a defect of this package.
"""

from __future__ import annotations

LONGEST = 1500
"""Letters of a message: names in a file can be of any length, and a page shows what it is told."""


class ScetmError(Exception):
    """Base of all errors meant for the user's eyes."""

    def __str__(self) -> str:
        """The message, an overlong one without its middle."""
        text = super().__str__()
        half = LONGEST // 2
        return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


class DataError(ScetmError):
    """The input cannot be read, or holds values the model cannot use."""


class ConfigError(ScetmError, ValueError):
    """A setting is out of range, unknown, or contradicts another.

    Attributes
    ----------
    field
        Name of the offending setting (`"n_topics"`), so that a form can show the message beside it; empty if none.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class TrainingError(ScetmError):
    """Training cannot go on."""


class TransferError(ScetmError):
    """A trained model cannot be given cells of another data set: no genes in common, or nothing to learn there."""


class FigureError(ScetmError):
    """A figure cannot be drawn for paper: of an unknown kind, or its numbers cannot be read."""


class RunError(ScetmError):
    """A run folder is missing, busy, damaged, or cannot be written."""


class AccessError(ScetmError):
    """Nobody is signed in, an account cannot be kept, or may not do what it asks for."""
