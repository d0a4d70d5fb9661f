"""How is a good input made a bad one? Bytes, JSON, HDF5 and zarr, each changed in the ways that hurt."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.fuzz.choices import Choices

TOKENS = (
    b"\0",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b",",
    b";",
    b'"',
    b"'",
    b"[",
    b"]",
    b"{",
    b"}",
    b"nan",
    b"-inf",
    b"1e999",
    b"-1",
    b"0.5",
    b"9" * 30,
    b"9" * 5000,
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc3",
    b"\xe2\x80\xae",
    b"=cmd|' /C calc'!A0",
    b"<script>alert(1)</script>",
    b"../../etc/passwd",
    b"%",
    b"%%MatrixMarket matrix array real general\n",
    b"a" * 4000,
    b"\t" * 300,
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"\x80\x04\x95",
    b"null",
    b"1000000000000",
    b"\xe2\x80\xa8",
    b"None",
)

TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "~nobody-of-that-name/x",
    "C:\\con",
    "CON.h5ad",
    "x" * 300,
    "x" * 5000,
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">a</a>',
    "\u202egnp.exe",
    "e\u0301\u0327" * 20,
    "\U0001f9ec",
    "%00",
    "%s%n{0}{x!r}",
    "${jndi:ldap://x}",
    "=1+1",
    "topic_99",
    "topic_0",
    "-1",
    "nan",
    "1e999",
    "9" * 5000,
    "\ud800",
    "\u2028",
    "cell_type",
    "batch",
    "gene1",
    "²",
    "true",
    "null",
    "[]",
    "{}",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**40,
    0.5,
    -0.5,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    [1, 2, 3],
    {"": None},
    {"a": {"b": [1]}},
    [["a", "b"]],
    *TEXTS,
)


BROKEN = (b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"-" + b"9" * 400, b"", b"\xff", b'"\\ud800"')
SHAPES = ([30, 8], [8, 30], [10**12, 8], [30, 10**12], [-30, 8], [30], [], [0, 0], 30, [30.5, 8])
COLUMNS = ("batch", "age", "..", "/X", "no such", "_index", "")

# ---- bytes and JSON -----------------------------------------------------------------------------------------------


def mutate_bytes(choices: Choices, content: bytes) -> bytes:
    """A few changes: flips, tokens, cuts, repeats."""
    for _ in range(1 + choices.below(4)):
        size = len(content)
        at = choices.below(size + 1)
        how = choices.below(8)
        if how == 0 and size:
            at = min(at, size - 1)
            content = content[:at] + bytes([content[at] ^ (1 << choices.below(8))]) + content[at + 1 :]
        elif how == 1 and size:
            content = content[: min(at, size - 1)] + bytes([choices.below(256)]) + content[at + 1 :]
        elif how in (2, 3):
            content = content[:at] + choices.pick(TOKENS) + content[at:]
        elif how == 4:
            content = content[:at]
        elif how == 5:
            content = content[:at] + content[at + choices.below(1 + min(200, size)) :]
        elif how == 6:
            part = content[at : at + choices.below(201)]
            content = content[:at] + part * (1 + choices.below(5)) + content[at:]
        else:
            token = choices.pick(TOKENS)
            content = content[:at] + token + content[at + len(token) :]
    return content


def mutate_value(choices: Choices, value: Any) -> Any:
    """A JSON value with one part exchanged, dropped, doubled or renamed."""
    if isinstance(value, dict) and value and not choices.once_in(8):
        key = choices.pick(sorted(value))
        how = choices.below(8)
        if how == 0:
            return {name: part for name, part in value.items() if name != key}
        if how == 1:
            return {**value, choices.pick(TEXTS): value[key]}
        return {**value, key: mutate_value(choices, value[key])}
    if isinstance(value, list) and value and not choices.once_in(8):
        at = choices.below(len(value))
        how = choices.below(8)
        if how == 0:
            return value[:at] + value[at + 1 :]
        if how == 1:
            return value * (2 + choices.below(30))
        return [*value[:at], mutate_value(choices, value[at]), *value[at + 1 :]]
    return choices.pick(VALUES)


def mutate_json(choices: Choices, content: bytes) -> bytes:
    """JSON with a few values changed, now and then broken as text, nested deeply or with overlong numbers."""
    how = choices.below(10)
    if how == 0:
        return mutate_bytes(choices, content)
    if how == 1:
        return choices.pick(
            (b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"-" + b"9" * 400, b"", b"\xff", b'"\\ud800"')
        )
    value = json.loads(content)
    for _ in range(1 + choices.below(3)):
        value = mutate_value(choices, value)
    text = json.dumps(value)
    if how == 2:
        text = text.replace("1", "1" + "0" * choices.pick((25, 400, 5000)), 1)
    return text.encode()


# ---- HDF5 ---------------------------------------------------------------------------------------------------------

ARRAYS: tuple[Callable[[], Any], ...] = (
    lambda: np.zeros(0),
    lambda: np.array(3.5),
    lambda: np.array([-1, 5]),
    lambda: np.array([np.nan, np.inf, -1, 1e300]),
    lambda: np.zeros((2, 3, 4)),
    lambda: np.array([2**63], dtype="u8"),
    lambda: np.array(["a", ""], dtype="S"),
    lambda: np.array([b"\xff\xfe", b"\0"], dtype="S4"),
    lambda: np.array([1 + 2j]),
    lambda: np.array([True, False]),
    lambda: np.zeros(3, dtype=[("a", "i4"), ("b", "S3")]),
    lambda: np.array([300, -7, 2], dtype="i2"),
    lambda: np.array([0.25, 0.5]),
    lambda: np.arange(31),
    lambda: np.arange(9)[::-1].copy(),
    lambda: np.zeros(30, dtype="V5"),
    lambda: np.full((30, 8), -1.5),
    lambda: np.full((30, 8), 7, dtype="i1"),
    lambda: np.array([10**12, 10**12]),
)
ATTRIBUTES: tuple[Any, ...] = (
    "",
    "csr_matrix",
    "csc_matrix",
    "array",
    "dataframe",
    "categorical",
    "string-array",
    "dict",
    "awkward-array",
    "nullable-integer",
    "rec-array",
    "null",
    "0.1.0",
    "0.2.0",
    "9.9.9",
    "../X",
    0,
    -1,
    10**12,
    2.5,
    True,
    b"\xff",
)
NAMES = ("encoding-type", "encoding-version", "shape", "_index", "column-order", "ordered", "h5sparse_format")


def nodes_of(root: h5py.File) -> list[str]:
    found: list[str] = []
    root.visit(found.append)
    return sorted(found)


def mutate_hdf5(choices: Choices, path: Path) -> None:
    """A few changes of a file that h5py can still open: other arrays, links, claims, attributes; or of its bytes."""
    if choices.once_in(5):
        path.write_bytes(mutate_bytes(choices, path.read_bytes()))
        return
    with h5py.File(path, "r+") as root:
        for _ in range(1 + choices.below(3)):
            with contextlib.suppress(KeyError, ValueError, TypeError, OSError, RuntimeError, OverflowError):
                _change_node(choices, root)


def _change_node(choices: Choices, root: h5py.File) -> None:
    names = nodes_of(root)
    name = choices.pick(names) if names else "X"
    how = choices.below(14)
    node = root.get(name)
    if how < 4:
        _change_attribute(choices, root if node is None or choices.once_in(10) else node)
    elif how < 6 and isinstance(node, h5py.Dataset) and node.shape and math.prod(node.shape) < 10_000:
        _change_values(choices, node)
    elif how == 6:
        del root[name]
    elif how == 7:
        root[name if choices.once_in(2) else f"{name}/more"] = choices.pick(names and [root[n] for n in names])
    else:
        del root[name]
        if how in (8, 9):
            root[name] = choices.pick(ARRAYS)()
        elif how == 10:
            _claim(choices, root, name)
        elif how == 11:
            _point_elsewhere(choices, root, name)
        elif how == 12:
            root[name] = choices.pick((root["/"], *[root[n] for n in names if n in root]))
        else:
            texts = np.array(
                [choices.pick(TEXTS).replace("\0", "").encode("utf-8", "replace") for _ in range(30)], dtype=object
            )
            root.create_dataset(name, data=texts, dtype=h5py.string_dtype())


def _change_attribute(choices: Choices, node: Any) -> None:
    known = sorted({*node.attrs, *NAMES})
    name = choices.pick(known)
    if choices.once_in(4):
        node.attrs.pop(name, None)
    elif name == "shape":
        node.attrs[name] = choices.pick(
            ([30, 8], [8, 30], [10**12, 8], [30, 10**12], [-30, 8], [30], [], [0, 0], 30, [30.5, 8])
        )
    elif name == "column-order":
        node.attrs[name] = [
            choices.pick(("batch", "age", "..", "/X", "no such", "_index", "")) for _ in range(choices.below(4))
        ]
    else:
        node.attrs[name] = choices.pick(ATTRIBUTES)


def _change_values(choices: Choices, node: h5py.Dataset) -> None:
    values = node[()]
    if values.size:
        flat = values.reshape(-1)
        flat[choices.below(flat.size)] = choices.pick((0, -1, 1, 2**31 - 1, 200, 0.5, np.nan, b"<b>", "x" * 300))
        node[...] = flat.reshape(values.shape)


def _claim(choices: Choices, root: h5py.File, name: str) -> None:
    shape = choices.pick(((10**12,), (10**12, 8), (30, 10**9), (2**31,), (10**6, 10**4), (10**9,), (1, 2**40)))
    chunks = choices.pick(((1000,), (1,), (2**28,)))
    kind = choices.pick(("f4", "i8", "S1000", h5py.string_dtype()))
    root.create_dataset(
        name, shape=shape, chunks=chunks * len(shape), dtype=kind, compression=choices.pick((None, "gzip"))
    )


def _point_elsewhere(choices: Choices, root: h5py.File, name: str) -> None:
    how = choices.below(4)
    if how == 0:
        root[name] = h5py.SoftLink(choices.pick(("/X", f"/{name}", "/nowhere", "..")))
    elif how == 1:
        root[name] = h5py.ExternalLink(choices.pick(("outside.h5", "/etc/passwd", root.filename)), "/X")
    elif how == 2:
        root.create_dataset(name, shape=(100,), dtype="u1", external=[("/etc/passwd", 0, 100)])
    else:
        layout = h5py.VirtualLayout(shape=(30,), dtype="f4")
        layout[:] = h5py.VirtualSource("outside.h5", "X", shape=(30,))
        root.create_virtual_dataset(name, layout)


# ---- folders ------------------------------------------------------------------------------------------------------


def mutate_zarr(choices: Choices, folder: Path) -> None:
    """Descriptions, chunks and entries of a zarr folder changed; now and then a link or a device among them."""
    for _ in range(1 + choices.below(3)):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            return
        file = choices.pick(files)
        described = [path for path in files if path.name.startswith(".z") or path.name == "zarr.json"]
        how = choices.below(10)
        if how < 6 and described:
            file = choices.pick(described)
            with contextlib.suppress(ValueError, RecursionError):
                file.write_bytes(mutate_json(choices, file.read_bytes()))
        elif how == 6:
            file.write_bytes(mutate_bytes(choices, file.read_bytes()))
        elif how == 7:
            file.unlink()
        elif how == 8:
            file.unlink()
            file.symlink_to(choices.pick((Path("/etc/passwd"), folder, Path("nowhere"), folder.parent)))
        else:
            file.unlink()
            os.mkfifo(file)


def mutate_files(choices: Choices, folder: Path) -> None:
    """One of the files of a folder changed in its bytes, taken away or doubled."""
    file = choices.pick(sorted(path for path in folder.iterdir() if path.is_file()))
    how = choices.below(12)
    if how == 0:
        file.unlink()
    elif how == 1:
        file.with_name(f"other_{file.name}").write_bytes(file.read_bytes())
    else:
        mutate_packed(choices, file)


def mutate_packed(choices: Choices, file: Path) -> None:
    """The bytes of a file; of a .gz mostly what is in it."""
    import gzip

    content = file.read_bytes()
    if file.suffix == ".gz" and not choices.once_in(4):
        content = gzip.compress(mutate_bytes(choices, gzip.decompress(content)), 1)
    else:
        content = mutate_bytes(choices, content)
    file.write_bytes(content)
