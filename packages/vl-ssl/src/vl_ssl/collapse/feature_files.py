"""Features in files: `.npy`, `.npz`, safetensors and Parquet, read in chunks of rows.

A `.npy` file is mapped and a Parquet file is read by row groups, so that neither is held whole; an array of the other
two is. Whole numbers become float64; what they count is theirs to say.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.files import read_array, read_tensors

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
"""Names of the files that can be read end so."""

_CHUNK_NUMBERS = 2**20


def check_feature_file(path: Path) -> None:
    """Refuse a path that is no file of features, from its name and its first bytes alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind, or empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a file of features, one of {', '.join(SUFFIXES)}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must be one of {', '.join(SUFFIXES)}; write features with np.save")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; write it again")


def read_features(path: Path, key: str | None = None) -> Iterator[Any]:
    """Features of a file as tensors ``(B, d)`` of floating-point numbers, chunk by chunk.

    Args:
        path: The file.
        key: Name of the array, tensor or column; by default the only one that has two dimensions. A column of Parquet
            holds lists of one length; by default, columns of floating-point numbers are the dimensions,
            and others, such as labels, are left out.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, no array has two dimensions and numbers, or several have and none is named.
    """
    import torch

    check_feature_file(path)
    if path.suffix.lower() == ".parquet":
        chunks: Iterator[Any] = _read_parquet(path, key)
    else:
        chunks = _in_chunks(_open(path, key), f"{path}" if key is None else f"{key!r} of {path}")
    for chunk in chunks:
        yield chunk if isinstance(chunk, torch.Tensor) else torch.from_numpy(chunk)


def _open(path: Path, key: str | None) -> Any:
    """The array or tensor of a file that is not Parquet."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        if key is not None:
            raise ValueError(f"--key names an array of several, {path} holds one; leave it out")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            # The reader that maps nothing says what is wrong.
            with path.open("rb") as file:
                read_array(file, path.stat().st_size, str(path))
            raise ValueError(f"{path} cannot be mapped: {' '.join(str(error).split())[:200]}") from error
    if suffix == ".safetensors":
        tensors = read_tensors(path)
        return tensors[_chosen(path, key, {name: tuple(tensor.shape) for name, tensor in tensors.items()})]
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
            arrays, faults = {}, []
            for name, size in sizes.items():
                if key in (None, name):
                    with archive.open(f"{name}.npy") as member:
                        try:
                            arrays[name] = read_array(member, size, f"array {name!r} of {path}")
                        except ValueError as error:
                            faults.append(error)
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} is not a whole .npz file: {' '.join(str(error).split())[:200]}") from error
    if key is not None and key not in sizes:
        raise ValueError(f"--key must name an array of {path}, got {key!r}; there are {', '.join(sizes)[:200]}")
    # An array that cannot be read, such as one of names, matters where the features may be in it.
    if faults and sum(array.ndim == 2 for array in arrays.values()) != 1:
        raise faults[0]
    return arrays[_chosen(path, key, {name: array.shape for name, array in arrays.items()})]


def _chosen(path: Path, key: str | None, shapes: dict[str, tuple[int, ...]]) -> str:
    there = ", ".join(f"{name} {shape}" for name, shape in shapes.items())[:200] or "nothing"
    if key is not None:
        if key not in shapes:
            raise ValueError(f"--key must name an array of {path}, got {key!r}; there are {there}")
        return key
    found = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(found) != 1:
        raise ValueError(f"{path} must hold one array of shape (n, d), got {there}; name one with --key")
    return found[0]


def _in_chunks(array: Any, what: str) -> Iterator[Any]:
    if array.ndim != 2 or not all(array.shape):
        raise ValueError(f"{what} must have shape (n, d) of at least one number, got {tuple(array.shape)}")
    rows = max(1, _CHUNK_NUMBERS // array.shape[1])
    for start in range(0, len(array), rows):
        chunk = array[start : start + rows]
        if not isinstance(chunk, np.ndarray):  # a tensor
            yield _real(chunk, what)
            continue
        if chunk.dtype.kind not in "fiu" or chunk.dtype.itemsize > 8:
            raise ValueError(f"{what} must hold real numbers of at most 64 bits, got {chunk.dtype}")
        kept = chunk.dtype.newbyteorder("=") if chunk.dtype.kind == "f" else np.dtype(np.float64)
        yield np.array(chunk, dtype=kept)


def _real(chunk: Any, what: str) -> Any:
    """A tensor of floating-point numbers that can be measured."""
    import torch

    if chunk.dtype == torch.bool or chunk.is_complex():
        raise ValueError(f"{what} must hold real numbers of at most 64 bits, got {chunk.dtype}")
    if not chunk.is_floating_point():
        return chunk.double()
    return chunk.float() if chunk.element_size() == 1 else chunk


def _read_parquet(path: Path, key: str | None) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet, types

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list)
            lists = [f.name for f in schema if any(kind(f.type) for kind in kinds)]
            plain = [f.name for f in schema if types.is_floating(f.type)]
            if key is not None and key not in lists:
                raise ValueError(f"--key must name a column of lists of {path}, got {key!r}; there are {lists}")
            if key is None and len(lists) != 1 and (lists or not plain):
                raise ValueError(
                    f"{path} must have one column of lists, or columns of floating-point numbers, got "
                    f"{', '.join(map(str, schema))[:200]}; name a column with --key"
                )
            columns = [key] if key is not None else lists or plain
            width, what = None, f"{', '.join(columns)[:80]} of {path}"
            for batch in file.iter_batches(1024, columns=columns, use_threads=False):
                if any(column.null_count for column in batch.columns):
                    raise ValueError(f"{what} must have a number in every row, got nulls; leave these rows out")
                if columns == plain:
                    chunk = np.stack([np.asarray(column, np.float64) for column in batch.columns], axis=1)
                else:
                    values = np.asarray(batch.column(0).flatten(), np.float64)
                    lengths = set(batch.column(0).value_lengths().to_pylist())
                    if len(lengths | ({width} - {None})) > 1:
                        raise ValueError(f"{what} must hold lists of one length, got several")
                    width = lengths.pop() if lengths else width
                    chunk = values.reshape(len(batch), -1)
                if len(chunk):
                    yield from _in_chunks(chunk, what)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {' '.join(str(error).split())[:200]}") from error
