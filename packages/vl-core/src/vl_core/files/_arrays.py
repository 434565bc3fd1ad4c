"""Arrays in NumPy's own format, read by nothing that unpickles or takes memory on trust."""

from __future__ import annotations

import ast
import re
import struct
import sys
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from vl_core.files._content import one_line

_MAX_HEADER = 10_000


def read_array(file: IO[bytes], size: int, what: str) -> npt.NDArray[Any]:
    """Read one array in NumPy's ``.npy`` format; its memory is taken after its declared size was found to be true.

    Args:
        file: Open at the beginning of the array.
        size: Number of bytes that are there.
        what: The array, for errors.

    Raises:
        ValueError: If the header is damaged, the size is another than it says, or the array holds Python objects.
    """
    try:
        shape, fortran, dtype = _read_header(file)
    # The header is a Python literal; a damaged one raises nearly anything.
    except Exception as error:
        raise ValueError(f"{what} has no header of an array: {one_line(error)}; write it with np.save") from error
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects, which are not unpickled; store numbers or fixed-width text")
    count = 1
    for length in shape:
        count *= length
    declared, left = count * dtype.itemsize, size - file.tell()
    # Values of no size would make an array of any length out of nothing.
    if declared != left or min(shape, default=0) < 0 or (dtype.itemsize == 0 and count):
        raise ValueError(
            f"{what} has {left:,} bytes of values, its header says {dtype} of shape {str(shape)[:80]}; write it again"
        )
    buffer = bytearray(declared)
    view, done = memoryview(buffer), 0
    # Reading to the end is what makes zipfile compare the checksum.
    while read := file.readinto(view[done:]):  # type: ignore[attr-defined]
        done += read
    if done != declared:
        raise ValueError(f"{what} ends after {done:,} of {declared:,} bytes; write it again")
    # The four bytes of a character may hold any number, and NumPy does not look.
    if dtype.kind == "U" and np.frombuffer(buffer, f"{dtype.str[0]}u4").max(initial=0) > sys.maxunicode:
        raise ValueError(f"{what} holds characters that there are none of; write it again")
    values = np.frombuffer(buffer, dtype) if count else np.empty(0, dtype)
    try:
        return values.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # no values, in dimensions that no array can have
        raise ValueError(f"{what} declares the shape {str(shape)[:80]}: {one_line(error)}") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    major, _ = npy.read_magic(file)
    width, code = (2, "<H") if major == 1 else (4, "<I")
    (length,) = struct.unpack(code, file.read(width))
    if length > _MAX_HEADER:
        raise ValueError(f"its header would have {length:,} bytes")
    text = file.read(length).decode("utf-8" if major == 3 else "latin-1")
    # Python 2 wrote its long integers with an L.
    content = ast.literal_eval(re.sub(r"(?<=\d)L", "", text).strip())
    shape, fortran = content["shape"], content["fortran_order"]
    if not isinstance(fortran, bool) or not all(type(length) is int for length in shape):
        raise ValueError(f"its header is {text[:80]!r}")
    return tuple(shape), fortran, npy.descr_to_dtype(content["descr"])
