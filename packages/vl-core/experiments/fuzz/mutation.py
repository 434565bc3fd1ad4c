"""Mutations of files: blind ones of bytes, and ones that know JSON, zip, gzip, PNG, Parquet and safetensors.

A blind mutation of a compressed or checksummed file seldom gets past its first check. The layouts are therefore taken
apart, one part is mutated, and the file is put together again with the right lengths and checksums.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

MAX_BYTES = 256 * 1024
"""Longest mutant; the bounds of the readers are in proportion to the size of the file."""

_INTEGERS = (0, 1, 2, 7, 127, 128, 255, 256, 1000, 32767, 65535, 65536, 10**6, 2**30, 2**31 - 1, 2**31, 2**32 - 1)
_LONG_INTEGERS = (*_INTEGERS, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
_TEXTS = ("", "-1", "0", "1e999", "NaN", "null", "2147483648", "9" * 30, "9" * 5000, "../..", "\\u0000", "\ud7ff", "{}")


def _nested(depth: int) -> Any:
    value: Any = []
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, -(10**30), float("nan"), float("inf"), 1e-320),
    *(_nested(40), _nested(150), _nested(900)),
    *("", "x", "\0", "ä" * 300, [], {}, [[]], {"": None}, [1, 2, 3], [None] * 50, "9" * 40),
)
_OPEN = ("[", '{"a":', "(", '"')


def mutate(content: bytes, generator: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a mutant of a file, at most `MAX_BYTES` long; equal states of the generator give equal mutants.

    Args:
        content: The file.
        generator: Source of all choices.
        others: Further files of the kind, to splice from.
    """
    layout = _layout(content)
    if layout is not None and generator.random() < 0.6:
        try:
            return layout(content, generator)[:MAX_BYTES]
        # The file may be damaged already, and its layout cannot be taken apart then.
        except Exception:
            pass
    return blind(content, generator, others)


def blind(content: bytes, generator: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Apply one to eight mutations of bytes."""
    mutant = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 3, 5, 8))):
        generator.choice(_BLIND)(mutant, generator)
        if others and generator.random() < 0.05:
            other = generator.choice(others)
            start = generator.randrange(len(other) + 1)
            place = generator.randrange(len(mutant) + 1)
            mutant[place:] = other[start:]
        del mutant[MAX_BYTES:]
    return bytes(mutant)


def _span(mutant: bytearray, generator: random.Random) -> tuple[int, int]:
    start = generator.randrange(len(mutant) + 1)
    return start, min(len(mutant), start + generator.choice((1, 2, 4, 8, 16, 64, 256, 4096)))


def _flip(mutant: bytearray, generator: random.Random) -> None:
    if mutant:
        mutant[generator.randrange(len(mutant))] ^= 1 << generator.randrange(8)


def _replace(mutant: bytearray, generator: random.Random) -> None:
    start, end = _span(mutant, generator)
    mutant[start:end] = generator.randbytes(end - start)


def _write_integer(mutant: bytearray, generator: random.Random) -> None:
    size = generator.choice((1, 2, 4, 4, 8))
    near = len(mutant) + generator.randrange(-2, 3)
    value = generator.choice((*_LONG_INTEGERS, near)) % (1 << 8 * size)
    start = generator.randrange(max(1, len(mutant) - size + 1))
    mutant[start : start + size] = value.to_bytes(size, generator.choice(("little", "big")))


def _add(mutant: bytearray, generator: random.Random) -> None:
    size = generator.choice((1, 2, 4))
    start = generator.randrange(max(1, len(mutant) - size + 1))
    order: Literal["little", "big"] = "little" if generator.random() < 0.5 else "big"
    value = int.from_bytes(mutant[start : start + size], order) + generator.randrange(-35, 36)
    mutant[start : start + size] = (value % (1 << 8 * size)).to_bytes(size, order)


def _truncate(mutant: bytearray, generator: random.Random) -> None:
    del mutant[generator.randrange(len(mutant) + 1) :]


def _delete(mutant: bytearray, generator: random.Random) -> None:
    start, end = _span(mutant, generator)
    del mutant[start:end]


def _duplicate(mutant: bytearray, generator: random.Random) -> None:
    start, end = _span(mutant, generator)
    mutant[start:start] = bytes(mutant[start:end]) * generator.choice((1, 1, 1, 2, 10, 1000))


def _swap(mutant: bytearray, generator: random.Random) -> None:
    (a, b), c = _span(mutant, generator), generator.randrange(len(mutant) + 1)
    piece = bytes(mutant[a:b])
    del mutant[a:b]
    mutant[c:c] = piece


def _write_number(mutant: bytearray, generator: random.Random) -> None:
    """Replace a run of decimal digits."""
    starts = [i for i, byte in enumerate(mutant) if 48 <= byte < 58 and (i == 0 or not 48 <= mutant[i - 1] < 58)]
    if not starts:
        return
    start = end = generator.choice(starts)
    while end < len(mutant) and 48 <= mutant[end] < 58:
        end += 1
    mutant[start:end] = generator.choice((*map(str, _LONG_INTEGERS), *_TEXTS)).encode()


def _insert_text(mutant: bytearray, generator: random.Random) -> None:
    start = generator.randrange(len(mutant) + 1)
    deep = generator.choice(_OPEN) * generator.choice((1, 10, 2000, 30000))
    mutant[start:start] = generator.choice((*_TEXTS, deep, "\n", "\r", '"', ",", "\x00")).encode()


_BLIND: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _replace, _write_integer, _write_integer, _add, _truncate, _delete, _duplicate, _swap),
    *(_write_number, _insert_text),
)


def _layout(content: bytes) -> Callable[[bytes, random.Random], bytes] | None:
    if content[:2] == b"PK":
        return _mutate_zip
    if content[:2] == b"\x1f\x8b":
        return _mutate_gzip
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return _mutate_png
    if content[:4] == b"PAR1" == content[-4:]:
        return _mutate_parquet
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        return _mutate_safetensors
    return _mutate_json_lines if content[:1] in (b"{", b"[") else None


def _mutate_json_lines(content: bytes, generator: random.Random) -> bytes:
    """Mutate a node of one of the lines, or of the whole document where its lines are no documents."""
    lines = content.splitlines()
    place = generator.randrange(len(lines))
    try:
        lines[place] = _mutate_json(lines[place], generator)
    except ValueError:
        return _mutate_json(content, generator)
    return b"\n".join(lines) + generator.choice((b"\n", b"\n", b""))


def _mutate_json(content: bytes, generator: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(generator.choice((1, 1, 2, 4))):
        document = _mutate_node(document, generator)
    return json.dumps(document).encode()


def _mutate_node(node: Any, generator: random.Random) -> Any:
    """Walk down to a random node, and replace, remove, repeat or wrap it."""
    if isinstance(node, dict | list) and node and generator.random() < 0.8:
        copy: Any = dict(node) if isinstance(node, dict) else list(node)
        key = generator.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        action = generator.random()
        if action < 0.1:
            del copy[key]
        elif action < 0.2 and isinstance(copy, list):
            # Repeats of repeats would take more memory here than the mutant takes in its reader.
            most = MAX_BYTES // len(json.dumps(copy))
            copy += [copy[key]] * min(most, generator.choice((1, 10, 1000)))
        elif action < 0.2:
            copy[generator.choice(("", "step", "shape", "unknown", *copy))] = copy[key]
        else:
            copy[key] = _mutate_node(copy[key], generator)
        return copy
    if isinstance(node, int | float) and not isinstance(node, bool) and generator.random() < 0.5:
        return generator.choice((node + 1, node - 1, -node, node * 1000, 2 * node, 0, *_LONG_INTEGERS))
    if isinstance(node, str) and generator.random() < 0.5:
        return blind(node.encode(), generator).decode("latin-1")[:5000]
    return [node] if generator.random() < 0.1 else generator.choice(_VALUES)


def write_zip(members: Sequence[tuple[str, bytes]], compression: int) -> bytes:
    """An archive without times, so that equal members give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there already
        for name, member in members:
            archive.writestr(zipfile.ZipInfo(name), member, compression)
    return out.getvalue()


def _mutate_zip(content: bytes, generator: random.Random) -> bytes:
    """Mutate a member and write the archive anew, or lie in a field of the headers of an archive that is whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = generator.randrange(len(members))
    name, member = members[place]
    action = generator.random()
    if action < 0.6:
        members[place] = name, _mutate_npy(member, generator)
    elif action < 0.7:
        members.append(members[place])
    elif action < 0.8:
        members[place] = generator.choice(("x.npy", "y.npy", "../x.npy", "x", "ä.npy", "x.npy/")), member
    mutant = bytearray(write_zip(members, generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))))
    if action >= 0.8:
        signature, fields = generator.choice(
            ((b"PK\x01\x02", (8, 10, 16, 20, 24, 42)), (b"PK\x03\x04", (6, 8, 14, 18, 22)))
        )
        starts = [i for i in range(len(mutant)) if mutant.startswith(signature, i)]
        place = generator.choice(starts) + generator.choice(fields)
        size = generator.choice((2, 4))
        mutant[place : place + size] = generator.choice((1, 9, 14, 99, *_INTEGERS)).to_bytes(8, "little")[:size]
    return bytes(mutant)


def _mutate_npy(member: bytes, generator: random.Random) -> bytes:
    """Mutate the header of an array, keeping its declared length right, or its values."""
    if member[:6] != b"\x93NUMPY" or generator.random() < 0.3:
        return blind(member, generator)
    (length,) = struct.unpack("<H", member[8:10])
    header = bytearray(member[10 : 10 + length])
    generator.choice((_write_number, _write_number, _replace, _delete, _insert_text, _duplicate, _flip))(
        header, generator
    )
    del header[65000:]
    return member[:8] + struct.pack("<H", len(header)) + bytes(header) + member[10 + length :]


def _mutate_gzip(content: bytes, generator: random.Random) -> bytes:
    return gzip.compress(blind(gzip.decompress(content), generator), mtime=0)


def _mutate_png(content: bytes, generator: random.Random) -> bytes:
    """Mutate the body of one chunk, with a right checksum; the pixels decompressed first."""
    chunks, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = generator.randrange(len(chunks))
    kind, body = chunks[chosen]
    if kind == b"IDAT" and generator.random() < 0.7:
        body = zlib.compress(blind(zlib.decompress(body), generator))
    else:
        body = blind(body, generator)
    chunks[chosen] = generator.choice((kind, kind, kind, b"tRNS", b"PLTE", b"iTXt", b"zTXt", b"eXIf", b"acTL")), body
    if generator.random() < 0.1:
        chunks.insert(chosen, chunks[generator.randrange(len(chunks))])
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _mutate_parquet(content: bytes, generator: random.Random) -> bytes:
    """Mutate the footer alone, with a right length, or the pages alone."""
    (length,) = struct.unpack("<I", content[-8:-4])
    pages, footer = content[4 : -8 - length], content[-8 - length : -8]
    few: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _add, _write_integer, _replace)
    in_footer = generator.random() < 0.5
    mutant = bytearray(footer if in_footer else pages)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        generator.choice(few)(mutant, generator)
    pages, footer = (pages, bytes(mutant)) if in_footer else (bytes(mutant), footer)
    return b"PAR1" + pages + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _mutate_safetensors(content: bytes, generator: random.Random) -> bytes:
    """Mutate the header as JSON, with a right length."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    mutant = _mutate_json(header, generator) if generator.random() < 0.7 else blind(header, generator)
    return len(mutant).to_bytes(8, "little") + mutant + content[8 + length :]
