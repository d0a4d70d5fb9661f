"""Which genes belong together? Gene sets, read from .gmt files."""

from __future__ import annotations

from pathlib import Path

from scetm_core.errors import DataError


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Gene sets of a .gmt file: a line each, tab-separated name, description, genes.

    Returns
    -------
    Name -> its genes, each once, in the file's order.

    Raises
    ------
    DataError
        If it cannot be read, holds no set, or names one twice with other genes.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"There is no file at {path}. Check the path of the gene sets.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as gene sets ({error}). Pick a .gmt file.") from error
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        genes = list(dict.fromkeys(gene.strip() for gene in rest[1:] if gene.strip()))
        if not genes or not name.strip():
            raise DataError(
                f"{path.name}, line {number}: a gene set needs a name, a description and genes, separated by tabs; "
                f"got {line[:60]!r}."
            )
        if found.setdefault(name.strip(), genes) != genes:
            raise DataError(f"{path.name}, line {number}: the set {name.strip()!r} is there twice with other genes.")
    if not found:
        raise DataError(f"{path.name} holds no gene set. Pick a .gmt file with at least one line.")
    return found
