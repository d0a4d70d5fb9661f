"""Are the known ways to hurt a reader refused in words, within bounds of memory, with nothing run and nothing left?"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr

from scetm_core.config import DataConfig
from scetm_core.data import bounds, check_dataset, load_dataset
from scetm_core.data.catalog import Catalog, safe_upload_name
from scetm_core.data.columns import as_numbers
from scetm_core.data.describe import describe_dataset
from scetm_core.data.embeddings import read_gene_embedding
from scetm_core.errors import DataError, RunError, ScetmError
from scetm_core.genesets import read_gene_sets
from scetm_core.orthologs import load_orthologs, read_pairs
from scetm_core.runs import Run, list_runs, open_run
from tests.fuzz import seeds
from tests.fuzz.guard import watched

Change = Callable[[h5py.File], None]


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


# ---- HDF5 ---------------------------------------------------------------------------------------------------------


def put(name: str, value: Any, **kept: Any) -> Change:
    """Exchange a node, its attributes stay; `kept` as for `create_dataset`."""

    def change(root: h5py.File) -> None:
        attributes = dict(root[name].attrs) if name in root else {}
        if name in root:
            del root[name]
        if kept:
            root.create_dataset(name, **kept)
        else:
            root[name] = value
        if isinstance(root.get(name, getlink=True), h5py.HardLink):
            root[name].attrs.update(attributes)

    return change


def attribute(node: str, name: str, value: Any) -> Change:
    return lambda root: root[node].attrs.__setitem__(name, value)


def values(node: str, at: int, value: Any) -> Change:
    return lambda root: root[node].__setitem__(at, value)


def claim(name: str, shape: tuple[int, ...], chunk: tuple[int, ...], kind: Any = "i1") -> Change:
    return put(name, None, shape=shape, chunks=chunk, dtype=kind, compression="gzip")


def _virtual(root: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(30, 8), dtype="f4")
    layout[:] = h5py.VirtualSource("outside.h5", "X", shape=(30, 8))
    del root["X"]
    root.create_virtual_dataset("X", layout)


def _cycle(root: h5py.File) -> None:
    root["obs/self"] = root["obs"]


def _diamonds(root: h5py.File) -> None:
    """Two ways at each of 40 levels: 2^40 ways in all."""
    group = root["uns"].create_group("level")
    for _ in range(40):
        below = group.create_group("left")
        group["right"] = below
        group = below


def _deep(root: h5py.File) -> None:
    group = root["obs"].create_group("deep", track_order=False)
    for _ in range(1200):
        group = group.create_group("d")
    root["obs"].attrs["column-order"] = ["batch", "deep"]
    root["obs/deep"].attrs["encoding-type"] = "dict"


def _attribute_of_lists(root: h5py.File) -> None:
    lists = np.empty(2, dtype=object)
    lists[:] = [np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)]
    root["obs"].attrs.create("lists", lists, dtype=h5py.vlen_dtype(np.int32))


def _many_columns(root: h5py.File) -> None:
    for number in range(400):
        root["obs"].create_dataset(f"c{number}", shape=(200_000_000,), chunks=(1000,), dtype="i1")


def zeros(megabytes: int) -> bytes:
    """So many zeros, deflated to a thousandth."""
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (megabytes - 1) + packer.flush()


def swollen(n_values: int, megabytes: int) -> Change:
    """An array of one chunk that unpacks to more than its values take."""

    def change(root: h5py.File) -> None:
        node = root.create_dataset("uns/x", shape=(n_values,), chunks=(n_values,), dtype="f4", compression="gzip")
        node.id.write_direct_chunk((0,), zeros(megabytes))

    return change


def short(name: str, packing: str, content: bytes, *, filter_mask: int = 0) -> Change:
    """An array whose chunk says nothing of most of its values: HDF5 would take them from anywhere in the memory."""

    def change(root: h5py.File) -> None:
        n_values = 240
        if name in root:
            n_values = root[name].size
            del root[name]
        node = root.create_dataset(name, shape=(n_values,), chunks=(n_values,), dtype="f4", compression=packing)
        node.id.write_direct_chunk((0,), content, filter_mask=filter_mask)

    return change


def _packed_twice(root: h5py.File) -> None:
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk((1000,))
    how.set_deflate(9)
    how.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
    space = h5py.h5s.create_simple((1000,))
    node = h5py.h5d.create(root["uns"].id, b"x", h5py.h5t.NATIVE_FLOAT, space, dcpl=how)
    node.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(1000, dtype="f4"))


ELSEWHERE = "is a link or is stored outside the file"
CLAIMS = "claims to hold"
DAMAGED = "damaged"
ANOTHER_LENGTH = "unpacks to something else than it has to hold"
HDF5: dict[str, tuple[Change, str]] = {
    **{f"external link {name}": (put(name, h5py.ExternalLink("outside.h5", f"/{name}")), ELSEWHERE)
       for name in ("X", "obs", "var", "layers", "uns", "raw", "obsm", "obs/batch", "X/data", "unread")},
    "soft link out of the group": (put("obs/age", h5py.SoftLink("/var")), ELSEWHERE),
    "soft link to nowhere": (put("raw", h5py.SoftLink("/nowhere")), ELSEWHERE),
    "external storage": (put("X", None, shape=(100,), dtype="u1", external=[("/etc/passwd", 0, 100)]), ELSEWHERE),
    "virtual data set": (_virtual, ELSEWHERE),
    "a million million rows": (claim("X", (10**12, 8), (1000, 8), "f4"), CLAIMS),
    "an index of 10 GB": (claim("obs/_index", (10**10,), (10**6,)), CLAIMS),
    "texts of 100 MB each": (claim("obs/age", (30,), (1,), "S100000000"), CLAIMS),
    "indptr of 10 GB": (claim("X/indptr", (10**9 + 1,), (10**6,), "i8"), CLAIMS),
    "many columns of 200 MB": (_many_columns, CLAIMS),
    "a chunk of 2 GB": (claim("layers/counts", (2**29,), (2**28,), "i8"), "chunks of 2.1 GB"),
    "a small chunk of 4 GB": (swollen(1000, 4096), ANOTHER_LENGTH),
    "a larger chunk of 4 GB": (swollen(1_000_000, 4096), ANOTHER_LENGTH),
    "a chunk packed twice": (_packed_twice, "cannot be checked"),
    "a short chunk that says it is not packed": (short("uns/x", "gzip", bytes(8), filter_mask=1), ANOTHER_LENGTH),
    "a short chunk of gzip": (short("uns/x", "gzip", zlib.compress(bytes(8))), ANOTHER_LENGTH),
    "a short chunk of lzf": (short("uns/x", "lzf", bytes([7, *range(8)])), ANOTHER_LENGTH),
    "a short chunk of counts": (short("X/data", "gzip", zlib.compress(bytes(8))), ANOTHER_LENGTH),
    "lists of unequal length": (put("uns/x", None, shape=(3,), dtype=h5py.vlen_dtype(np.int32)), "lists of unequal"),
    "an attribute of lists": (_attribute_of_lists, "lists of unequal"),
    "a cycle of hard links": (_cycle, "reached in two ways"),
    "hard links like diamonds": (_diamonds, "reached in two ways"),
    "deep nesting": (_deep, "cannot be read|no AnnData|column"),
    "compound counts": (put("X", np.zeros((30, 8), dtype=[("a", "i4"), ("b", "f4")])), "not as numbers"),
    "references as counts": (put("X", None, shape=(30, 8), dtype=h5py.ref_dtype), "not as numbers"),
    "text as counts": (put("X", None, shape=(30, 8), dtype=h5py.string_dtype()), "not as numbers"),
    "complex counts": (put("X", np.ones((30, 8), dtype="c8")), "not as numbers"),
    "indices out of range": (values("X/indices", 0, 8), "point outside"),
    "negative indices": (values("X/indices", 3, -1), "point outside"),
    "negative indptr": (values("X/indptr", 2, -5), DAMAGED),
    "indptr beyond the values": (values("X/indptr", 30, 10**6), DAMAGED),
    "indptr that falls": (values("X/indptr", 5, 100), DAMAGED),
    "absurd shape": (attribute("X", "shape", [30, 10**12]), DAMAGED),
    "negative shape": (attribute("X", "shape", [-30, 8]), DAMAGED),
    "a shape of one": (attribute("X", "shape", [30]), "no table of cells and genes"),
    "unknown encoding": (attribute("X", "encoding-type", "pickle"), "stored as 'pic'"),
    "unknown encoding of obs": (attribute("obs", "encoding-type", "pickle"), "cannot be read"),
    "obs of another length": (put("obs/_index", np.array(["a", "b"], dtype=object)), "cannot be read|damaged"),
}  # fmt: skip


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with a good file, and beside it one that nobody may look into."""
    folder = tmp_path / "box"
    folder.mkdir()
    seeds.small().write_h5ad(folder / "outside.h5")
    return folder


def outcome(read: Callable[[], object]) -> Exception | None:
    """The error of ours that comes out, if one does; what it was made of is never a lack of memory."""
    try:
        read()
    except ScetmError as error:
        return error
    return None


@pytest.mark.parametrize("name", HDF5)
def test_a_hostile_hdf5_is_refused_before_it_hurts(name: str, box: Path) -> None:
    change, words = HDF5[name]
    path = box / "data.h5ad"
    seeds.small().write_h5ad(path)
    with h5py.File(path, "r+") as root:
        change(root)
    with watched(box), pytest.raises(DataError, match=words):
        load_dataset(DataConfig(path=str(path)))
    config = DataConfig(path=str(path))
    for read in (lambda: describe_dataset(path), lambda: check_dataset(config)):
        with watched(box):
            error = outcome(read)
        assert not isinstance(error and error.__cause__, MemoryError)


def test_a_link_to_another_file_is_refused_in_10x_files_as_well(box: Path) -> None:
    path = seeds.counts_in("10x v3", box)
    with h5py.File(path, "r+") as root:
        del root["matrix/data"]
        root["matrix/data"] = h5py.ExternalLink("outside.h5", "/X/data")
    with pytest.raises(DataError, match=ELSEWHERE):
        load_dataset(DataConfig(path=str(path)))


# ---- zarr ---------------------------------------------------------------------------------------------------------


def _linked(path: Path) -> None:
    """An array that is a link to a pickled one outside: a walk that follows no links would not see it."""
    outside = path.parent / "evil"
    outside.mkdir()
    described = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "filters": [{"id": "pickle"}]}
    described |= {"compressor": None, "fill_value": None, "order": "C"}
    (outside / ".zarray").write_text(json.dumps(described))
    (outside / "0").write_bytes(pickle.dumps([Bomb(path.parent / "made by the bomb")]))
    (path / "obs" / "age").rename(path.parent / "age")
    (path / "obs" / "age").symlink_to(outside)


def _described(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = path / name / ".zarray"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def _fifo(path: Path) -> None:
    (path / "X" / "data" / "0").unlink()
    os.mkfifo(path / "X" / "data" / "0")


def _consolidated(path: Path) -> None:
    """A list of arrays that names one outside the folder."""
    zarr.open_group(str(path.parent / "other.zarr"), mode="w", zarr_format=2).create_array("X", data=np.ones(3))
    described = json.loads((path.parent / "other.zarr" / "X" / ".zarray").read_text())
    metadata = {".zgroup": {"zarr_format": 2}, "../other.zarr/X/.zarray": described, "X/.zarray": described}
    (path / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": metadata}))
    for name in ("obs", "var"):
        (path / name / ".zgroup").unlink()


ZARR: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link to pickled data": (_linked, ELSEWHERE),
    "a pipe that nobody fills": (_fifo, ELSEWHERE),
    "a million million rows": (_described("X/data", shape=[10**12], chunks=[1000]), CLAIMS),
    "a chunk of 8 GB": (_described("X/data", shape=[10**9], chunks=[10**9], dtype="<f8"), "in chunks of 8.0 GB"),
    "texts of a gigabyte": (_described("obs/age", dtype="|S1000000000"), "in chunks of"),
    "a list of arrays elsewhere": (_consolidated, "no AnnData|cannot be read"),
    "pickle in a filter": (_described("obs/age", filters=[{"id": "pickle"}]), "stored with pickle"),
    "deep nesting": (lambda path: (path / "X" / "data" / ".zarray").write_text("[" * 100_000) and None, "nested too"),
    "no text": (lambda path: (path / "X" / "data" / ".zarray").write_bytes(b"\xff\xfe") and None, "cannot be read"),
}


@pytest.mark.parametrize("name", ZARR)
def test_a_hostile_zarr_is_refused_before_it_hurts(name: str, box: Path) -> None:
    change, words = ZARR[name]
    path = seeds.counts_in("zarr v2", box)
    change(path)
    with watched(box), pytest.raises(DataError, match=words):
        load_dataset(DataConfig(path=str(path)))
    assert not (box / "made by the bomb").exists()


def test_a_zipped_zarr_is_not_read_at_all(box: Path) -> None:
    (box / "data.zarr.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="ending that cannot be read"):
        load_dataset(DataConfig(path=str(box / "data.zarr.zip")))


# ---- packed text and tables ---------------------------------------------------------------------------------------

ZEROS = gzip.compress(b"0" * 10_000_000)
"""10 MB in 10 kB; a .gz may hold any number of them one behind the other."""


def ten_gigabytes(head: bytes = b"") -> bytes:
    return gzip.compress(head) + ZEROS * 1000


def _mtx(folder: Path, **files: bytes) -> Path:
    path = seeds.counts_in("10x mtx.gz", folder)
    for name, content in files.items():
        (path / name.replace("_", ".", 1).replace("_", ".")).write_bytes(content)
    return path


LINE = "unpacks to more than|has a line of more than"
BOMBS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "counts": ("a.csv.gz", b"cell,a,b\nc1,1,2\n", lambda path: load_dataset(DataConfig(path=str(path)))),
    "header of counts": ("a.tsv.gz", b"", lambda path: describe_dataset(path)),
    "gene sets": ("a.gmt.gz", b"set\t\tINS\n", read_gene_sets),
    "markers": ("a.csv.gz", b"cell type,gene\nbeta,INS\n", read_gene_sets),
    "gene embeddings": ("a.csv.gz", b"gene,d0\nINS,1\n", read_gene_embedding),
    "orthologs": ("a.csv.gz", b"human,mouse\nINS,Ins2\n", lambda path: load_orthologs("human", "mouse", path)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_ten_gigabytes_in_ten_megabytes_are_refused_in_words(name: str, box: Path) -> None:
    file, head, read = BOMBS[name]
    (box / file).write_bytes(ten_gigabytes(head))
    with watched(box), pytest.raises(DataError, match=LINE):
        read(box / file)


@pytest.mark.parametrize("file", ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"])
def test_a_bomb_in_a_10x_folder_is_refused_in_words(file: str, box: Path) -> None:
    path = seeds.counts_in("10x mtx.gz", box)
    head = gzip.decompress((path / file).read_bytes())
    (path / file).write_bytes(ten_gigabytes(head))
    with watched(box), pytest.raises(DataError, match=LINE):
        load_dataset(DataConfig(path=str(path)))


def test_lines_without_end_are_bounded_by_the_size_of_the_file(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FREE", 1_000_000)
    (box / "a.csv.gz").write_bytes(gzip.compress(b"cell,a,b\n" + b"c,1,2\n" * 2_000_000))
    with pytest.raises(DataError, match="unpacks to more than"):
        load_dataset(DataConfig(path=str(box / "a.csv.gz")))


def test_what_is_packed_well_but_not_absurdly_is_read(box: Path) -> None:
    (box / "a.csv.gz").write_bytes(gzip.compress(b"cell,a,b\n" + b"c,1,2\n" * 200_000))
    assert load_dataset(DataConfig(path=str(box / "a.csv.gz"))).n_obs == 200_000


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 1000000000000\n1 1 1\n", "claims 1,000,000,000,000"),
        (b"%%MatrixMarket matrix coordinate integer general\n999999999999 30 1\n1 1 1\n", "genes and 30 cells"),
        (b"%%MatrixMarket matrix array integer general\n1000000 1000000\n1\n", "claims 1,000,000,000,000 values"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 2\n9 31 1\n1 1 1\n", "points outside"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 2\n-1 1 1\n1 1 1\n", "points outside"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 1\n1 1 1" + b"a" * 4000, "else than numbers"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 1\n1 1\0 1\n", "something else than numbers"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 3\n1 1 1\n", "1 values, its head says 3"),
        (b"%%MatrixMarket matrix coordinate integer general\n8 30 1\n1 1 1\n1 1\n", "cut short or too long"),
        (b"%%MatrixMarket matrix coordinate complex general\n8 30 1\n1 1 1 1\n", "counts are 'coordinate integer"),
        (b"%%MatrixMarket tensor\n", "does not begin as a .mtx does"),
        (b"", "does not begin as a .mtx does"),
    ],
    ids=[
        "values", "genes", "dense", "out of range", "negative", "letters that crash scipy", "NUL", "few", "cut",
        "complex", "no matrix", "empty",
    ],
)  # fmt: skip
def test_a_mtx_that_claims_too_much_is_refused(head: bytes, words: str, box: Path) -> None:
    path = seeds.counts_in("10x mtx", box)
    (path / "matrix.mtx").write_bytes(head)
    with watched(box), pytest.raises(DataError, match=words):
        load_dataset(DataConfig(path=str(path)))


def test_a_table_of_a_million_columns_is_refused(box: Path) -> None:
    (box / "a.csv").write_bytes(b"," * 1_000_000 + b"\nc1" + b",1" * 1_000_000)
    with watched(box), pytest.raises(DataError, match="1,000,000 columns"):
        load_dataset(DataConfig(path=str(box / "a.csv")))


@pytest.mark.parametrize("head", ['step,a"b,c', 'step,"a', 'step,a"'])
def test_a_quote_without_an_end_in_a_curve_is_only_text(head: str, tmp_path: Path) -> None:
    """Pandas' parser wrote where it must not, and the process died."""
    from scetm_core.curve_file import read_rows

    row = ",".join(["7"] * len(head.split(",")))
    (tmp_path / "metrics.csv").write_text(f"{head}\n{row}\n{row}\n")
    assert read_rows(tmp_path / "metrics.csv")["step"].tolist() == [7]


@pytest.mark.parametrize("number", ["3.3e999333333335", "1e2147483648", "1e4294967296"])
def test_exponents_that_crash_pandas_are_text(number: str, box: Path) -> None:
    """The process died over the first two, and the last was read as 1."""
    (box / "a.csv").write_text(f"cell,a,b\nc1,{number},2\nc2,1,1\n")
    (box / "rho.csv").write_text(f"gene,d0\nINS,{number}\n")
    obs = pd.DataFrame({"depth": [number, "2"]}, index=["c1", "c2"])
    data = load_dataset(DataConfig(path=str(box / "a.csv")))
    assert (list(data.var_names), list(data.obs["a"])) == (["b"], [number, "1"])
    with pytest.raises(DataError, match="not numbers"):
        read_gene_embedding(box / "rho.csv")
    with pytest.raises(DataError, match="is no finite number for 1 cell"):
        as_numbers(obs["depth"])


def test_arrays_that_claim_more_than_they_hold_are_refused(box: Path) -> None:
    import io
    import zipfile

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)})
    with zipfile.ZipFile(box / "rho.npz", "w") as archive:
        archive.writestr("rho.npy", head.getvalue())
        archive.writestr("genes.npy", head.getvalue())
    with watched(box), pytest.raises(DataError, match=r"'rho.npy' claims 12,000.0 GB and holds 0 MB"):
        read_gene_embedding(box / "rho.npz")


# ---- pickles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.h5ad", "a.h5", "a.csv", "a.gmt", "a.tsv.gz", "a.npz", "a.safetensors"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["pickle", "torch"])
def test_a_renamed_pickle_is_never_unpickled(name: str, wrapped: bool, box: Path) -> None:
    import torch

    from scetm_core.model import ScETM

    path, made = box / name, box / "made by the bomb"
    if wrapped:
        torch.save({"rho": Bomb(made)}, path)
    else:
        path.write_bytes(pickle.dumps({"rho": Bomb(made)}))
    reads: tuple[Callable[[], object], ...] = (
        lambda: load_dataset(DataConfig(path=str(path))),
        lambda: read_gene_sets(path),
        lambda: read_gene_embedding(path),
        lambda: read_pairs(path),
        lambda: ScETM.load(path),
    )
    for read in reads:
        with watched(box), pytest.raises(ScetmError):
            read()
    assert not made.exists()


def test_objects_in_npz_are_never_unpickled(box: Path) -> None:
    made = box / "made by the bomb"
    np.savez(box / "rho.npz", genes=np.array([Bomb(made)], dtype=object), rho=np.ones((1, 2)))
    with pytest.raises(DataError, match="stored with pickle"):
        read_gene_embedding(box / "rho.npz")
    assert not made.exists()


# ---- folders, links and names -------------------------------------------------------------------------------------


def test_links_and_loops_in_a_data_folder_lead_nowhere(tmp_path: Path) -> None:
    root, secret = tmp_path / "lab", tmp_path / "secret"
    for folder in (root, secret):
        folder.mkdir()
    (root / "good.csv").write_text("cell,a\nc,1\n")
    (root / "loop.h5ad").symlink_to(root / "loop.h5ad")
    (root / "round").symlink_to(root)
    tenx = seeds.counts_in("10x mtx", secret)
    inside = root / "tenx"
    inside.mkdir()
    for file in tenx.iterdir():
        (inside / file.name).symlink_to(file)
    catalog = Catalog({"lab": root})
    assert [file.ref for file in catalog.files() if "tenx" not in file.ref] == ["lab/good.csv"]
    for ref in ("lab/loop.h5ad", "lab/tenx", "lab/tenx/matrix.mtx"):
        with pytest.raises(DataError, match=r"leads outside|cannot be looked up"):
            catalog.resolve(ref)


def test_a_pipe_among_the_data_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    assert Catalog({"lab": tmp_path}).files() == []
    for read in (describe_dataset, read_gene_sets):
        with watched(tmp_path), pytest.raises(DataError, match="no plain file"):
            read(tmp_path / "a.csv")


def test_names_that_cannot_be_shown_are_not_listed_and_others_are(tmp_path: Path) -> None:
    shown = ["\u202efdp.csv", "e\u0301.csv", "\U0001f9ec.csv", "<b>.csv", f"{'x' * 250}.csv", "=1+1.csv"]
    for name in [*shown, "a\nb.csv", "a\x1b[31m.csv"]:
        (tmp_path / name).touch()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.csv"))).touch()
    listed = Catalog({"lab": tmp_path}).files()
    assert sorted(file.name for file in listed) == sorted(shown)
    assert all(Catalog({"lab": tmp_path}).resolve(file.ref).is_file() for file in listed)


@pytest.mark.parametrize(
    "name",
    [
        "CON.h5ad", "nul.csv", "Com1.tsv.gz", "LPT9.gmt", "aux .csv", "<script>.csv", "\u202efdp.csv", "a\0.csv",
        "x" * 300, "..csv", "a/../b.csv", "\U0001f9ec.csv", "a\nb.csv", "C:\\a.csv", "\ud800.csv",
    ],
)  # fmt: skip
def test_hostile_names_cannot_be_uploaded(name: str) -> None:
    with pytest.raises(DataError, match="cannot be a file name here"):
        safe_upload_name(name)


def test_a_linked_run_is_no_run(tmp_path: Path) -> None:
    elsewhere = seeds.finished_run(_made(tmp_path / "elsewhere"))
    runs = _made(tmp_path / "runs")
    (runs / "linked").symlink_to(elsewhere)
    assert list_runs(runs) == []
    with pytest.raises(RunError, match="no run called 'linked'"):
        open_run(runs, "linked")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x.h5ad", "a\0b.h5ad", "x" * 5000 + ".csv", "\ud800.h5ad"])
def test_a_path_that_cannot_be_one_is_refused_in_words(path: str) -> None:
    for read in (lambda: load_dataset(DataConfig(path=path)), lambda: read_gene_sets(Path(path)),
                 lambda: read_gene_embedding(Path(path)), lambda: load_orthologs("human", "mouse", path)):  # fmt: skip
        with pytest.raises(DataError, match="cannot be a path"):
            read()


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": 10**400}, {"created_at": -1e300}, {"config": None}, {"input": 3}, {"versions": "x"},
        {"format": []},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_damaged_run_never_hides_the_others(change: dict[str, Any], tmp_path: Path) -> None:
    run = seeds.finished_run(tmp_path)
    record = json.loads((run / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({**record, **change}))
    assert "seed" in [found.id for found in list_runs(tmp_path)]
    with pytest.raises(RunError):
        _ = Run(other).config, Run(other).input, Run(other).versions


# ---- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the limit holds on Linux")
def test_the_preflight_check_of_false_claims_needs_little_memory(box: Path) -> None:
    """A process that may not have more than 4 GB of addresses in all, which the libraries alone take half of."""
    paths = []
    for number, name in enumerate(("a million million rows", "indptr of 10 GB", "texts of 100 MB each")):
        paths.append(box / f"{number}.h5ad")
        seeds.small().write_h5ad(paths[-1])
        with h5py.File(paths[-1], "r+") as root:
            HDF5[name][0](root)
    (box / "bomb.csv.gz").write_bytes(ten_gigabytes(b"cell,a,b\n"))
    code = (
        "import sys; from scetm_core.__main__ import main\n"
        "import resource; codes = [main(['check', path]) for path in sys.argv[1:]]\n"
        "print(codes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, [*paths, box / "bomb.csv.gz"])],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )  # fmt: skip
    codes, kilobytes = done.stdout.strip().rsplit(" ", 1)
    assert codes == "[1, 1, 1, 1]", done.stderr
    assert done.stderr.count("claims to hold") == 3
    assert "has a line of more than" in done.stderr
    assert int(kilobytes) < 800_000


def test_a_good_file_is_still_good(box: Path) -> None:
    data = load_dataset(DataConfig(path=str(box / "outside.h5")))
    assert isinstance(data, ad.AnnData)
    assert data.shape == (30, 8)
