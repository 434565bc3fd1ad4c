"""JSON, gzip and safetensors: every fault is a ValueError that names the file."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

DEFLATE_RATIO = 1032
"""Largest number of bytes that a byte of deflated data stands for."""

_MAX_DIGITS = 20  # of 64 bits, with or without a sign


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON; `where` names the file, and the line where there are several documents.

    Raises:
        ValueError: If it is not JSON, not UTF-8, nested too deeply, or has a whole number that 64 bits cannot hold.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    except OverflowError as error:
        raise ValueError(f"{where} has {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply for JSON that is meant to be read") from None


def _whole_number(digits: str) -> int:
    """Bounded, since Python's own is not, and adding a fraction to one of 400 digits raises an OverflowError."""
    if len(digits) > _MAX_DIGITS:
        raise OverflowError(f"a whole number of {len(digits.lstrip('-')):,} digits")
    return int(digits)


def read_json(path: Path, kind: type[Any] = object) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        kind: Required type of the content: ``dict``, ``list``, or anything.

    Raises:
        OSError: If there is no such file, or it cannot be read.
        ValueError: If it is not JSON, or its content is of another type.
    """
    content = parse_json(path.read_bytes(), str(path))
    if not isinstance(content, kind):
        wanted = "object" if kind is dict else kind.__name__
        raise ValueError(f"{path} must be a JSON {wanted}, got {type(content).__name__}")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file to the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; check the path") from None
    # PyTorch has no name for some of the types of the format, and raises a KeyError.
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {one_line(error)}; write it again") from error


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors of a safetensors file, which is checked to be whole without its numbers being read.

    Raises:
        ValueError: If it is missing, cannot be read, or is no such file; the message says what to do.
    """
    from safetensors import SafetensorError, safe_open

    pointer = b"version https://git-lfs"
    try:
        with path.open("rb") as file:
            if file.read(len(pointer)) == pointer:
                raise ValueError(f"{path} is the pointer of a file in Git LFS; run git lfs pull in its repository")
        with safe_open(str(path), framework="np") as weights:
            return list(weights.keys())
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing, a part of the weights; copy the whole model") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); see to its permissions and its disk") from error
    except SafetensorError as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} is damaged or no safetensors file ({reason}); copy it again") from error


def gunzip(content: bytes, name: str, limit: int) -> bytes:
    """Decompress gzip data of at most `limit` bytes; members that follow one another are joined.

    Raises:
        ValueError: If the data is damaged, incomplete, or longer.
    """
    pieces, left = [], limit
    while content:
        member = zlib.decompressobj(wbits=31)
        try:
            piece = member.decompress(content, left + 1)
        except zlib.error as error:
            raise ValueError(f"{name} is not a whole gzip file ({error}); fetch it again") from error
        left -= len(piece)
        if left < 0:
            raise ValueError(f"{name} decompresses to more than {limit:,} bytes; fetch it again")
        if not member.eof:
            raise ValueError(f"{name} is not a whole gzip file (it ends too early); fetch it again")
        pieces.append(piece)
        # Padding with zeros is allowed.
        content = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)


def one_line(error: BaseException) -> str:
    """Text of an error on one line; its type where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__
