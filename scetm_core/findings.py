"""What was found wrong with files, what was done about it, and what is left to do? The list that `doctor` fills."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from scetm_core import keys

WRONG, NOTE = "wrong", "note"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth a note, with a file or folder of a home."""

    place: str  # relative to the home
    problem: str
    level: str = WRONG
    mended: str = ""  # what was done; "" if nothing
    advice: str = ""  # what is left to do

    @property
    def is_open(self) -> bool:
        """Whether something is wrong still."""
        return self.level == WRONG and not self.mended

    def in_words(self) -> str:
        """One line."""
        return " ".join(part for part in (f"{self.place}: {self.problem}.", self.mended, self.advice) if part)

    def to_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return dataclasses.asdict(self)


class Findings:
    """A list of findings in a home, and whether they are to be mended."""

    def __init__(self, home: Path, *, mend: bool) -> None:
        self.home, self.mend = home, mend
        self.listed: list[Finding] = []

    def add(self, path: Path, problem: str, *, advice: str = "", level: str = WRONG, mended: str = "") -> None:
        """Note something."""
        place = path.relative_to(self.home).as_posix() if path != self.home else str(path)
        self.listed.append(Finding(place=place, problem=problem, advice=advice, level=level, mended=mended))

    @contextlib.contextmanager
    def mending(self, path: Path, problem: str, *, how: str, advice: str = "", level: str = WRONG) -> Iterator[bool]:
        """Note something that can be mended: yields whether it is to be; a disk that refuses leaves it as it is."""
        try:
            yield self.mend
        except OSError as error:
            self.add(path, problem, advice=f"It could not be mended: {error.strerror or error}.", level=level)
        else:
            self.add(path, problem, mended=how if self.mend else "", advice=advice, level=level)

    def put_aside(self, path: Path, problem: str, *, folder: Path, advice: str = "", level: str = WRONG) -> None:
        """Note a broken file, and move it into the folder's `damaged`, where nothing is ever overwritten."""
        with self.mending(path, problem, how=f"Moved to {keys.DAMAGED_FOLDER}/.", advice=advice, level=level) as mend:
            if mend:
                aside = folder / keys.DAMAGED_FOLDER
                aside.mkdir(exist_ok=True)
                target, count = aside / "-".join(path.relative_to(folder).parts), 1
                while target.exists():
                    count += 1
                    target = target.with_name(f"{count}-{'-'.join(path.relative_to(folder).parts)}")
                path.rename(target)
