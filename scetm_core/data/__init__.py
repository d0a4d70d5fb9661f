"""Which counts go into the model, and are they fit for it?

Map of the package::

    formats      which kind of input is it? opens any of them as an `OpenInput`
      stored     .h5ad and .zarr            tenx    10x .h5 and .mtx folders
      table      .csv / .tsv / .txt         matrix  counts read in pieces, from disk or memory
    names        unique names, close matches, Ensembl ids or symbols
    columns      batch and label columns: categories, and what makes a column unfit
    read         load_dataset: raw counts ready for the model
    stream       counts that stay on disk: rows are read as they are asked for;  chunks: of .zarr, read fast
    modality     a second modality of the same cells;  embeddings: of genes, from a file
    describe     describe_dataset: what is in a file, without reading its counts
    checks       check_dataset: the pre-flight report;  scan, estimate: what it is made of
    expression   one gene's expression, read from disk;  search_genes
    catalog      which files may the app show?
    demo         the embedded data sets
    simulate     counts drawn from the model itself, with the truth

Only numpy, pandas and scipy are imported with these modules; anndata, h5py and zarr where they are used.
"""

from __future__ import annotations

from scetm_core.data.checks import check_dataset
from scetm_core.data.read import load_dataset
from scetm_core.data.simulate import simulate

__all__ = ["check_dataset", "load_dataset", "simulate"]
