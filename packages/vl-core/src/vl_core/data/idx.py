"""Read the IDX format of MNIST-like data sets, plain or gzip-compressed."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from vl_core.files import DEFLATE_RATIO, gunzip


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes, compressed or not.

    The header is two zero bytes, a type code (``0x08``, unsigned byte), the number of dimensions, and each dimension as
    a big-endian 32-bit integer; the values follow in C order.

    Args:
        path: The file, with or without ``.gz``.

    Returns:
        An array of uint8 with the dimensions that the header names, ``(n, 28, 28)`` for images and ``(n,)`` for labels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not IDX, holds another type than bytes, or is shorter or longer than its header says.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gunzip(raw, str(path), DEFLATE_RATIO * len(raw))
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise ValueError(f"{path} is not an IDX file: it begins with {raw[:4].hex() or 'nothing'}, expected 0000")
    type_code, ndim = raw[2], raw[3]
    if type_code != 0x08:
        raise ValueError(f"{path} holds IDX type 0x{type_code:02x}, expected 0x08 (unsigned bytes)")
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{path} ends inside its header of {ndim} dimensions; fetch it again")
    shape = struct.unpack(f">{ndim}I", raw[4:start])
    expected = math.prod(shape)
    if len(raw) - start != expected:
        raise ValueError(
            f"{path} has {len(raw) - start} values, its header says {expected} {str(shape)[:80]}; fetch it again"
        )
    if ndim > 32:
        raise ValueError(f"{path} has {ndim} dimensions, expected at most 32; fetch it again")
    try:
        return np.frombuffer(raw[start:], np.uint8).reshape(shape).copy()
    except ValueError as error:  # no values, in dimensions that no array can have
        raise ValueError(f"{path} declares the shape {str(shape)[:80]}: {error}") from error
