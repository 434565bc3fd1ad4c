"""Readers of single files: what is wrong is named, and no file costs more memory than it could fill."""

import gzip
import io
import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from vl_core import files
from vl_core.data.idx import read_idx


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "is nested too deeply"),
        (b"9" * 5000, "has a whole number of 5,000 digits"),
        (b'{"a": -' + b"9" * 400 + b"}", "has a whole number of 400 digits"),
        (b"[1]", "must be a JSON object, got list"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, cause):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"config\.json {cause}"):
        files.read_json(tmp_path / "config.json", dict)


def test_json_is_read(tmp_path):
    (tmp_path / "config.json").write_text(f'{{"ä": [1, null, {-(2**63)}, {2**64 - 1}]}}', encoding="utf-8")
    assert files.read_json(tmp_path / "config.json") == {"ä": [1, None, -(2**63), 2**64 - 1]}
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        files.read_json(tmp_path / "gone.json")


def test_tensors_come_back_and_damage_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.arange(6.0)}, path)
    assert torch.equal(files.read_tensors(path)["weight"], torch.arange(6.0))
    content = path.read_bytes()
    header = json.dumps({"weight": {"dtype": "X9", "shape": [6], "data_offsets": [0, 24]}}).encode()
    for damaged in (b"", content[:20], content[:-4], struct.pack("<Q", len(header)) + header + bytes(24)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
            files.read_tensors(path)
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors does not exist"):
        files.read_tensors(tmp_path / "gone.safetensors")


def test_names_of_tensors_are_read_and_what_is_no_safetensors_file_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.arange(6.0)}, path)
    assert files.tensor_names(path) == ["weight"]
    content = path.read_bytes()
    for damaged in (b"", content[:20], content[:-4], b"junk bytes, and no weights"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged or no safetensors file .*; copy it again"):
            files.tensor_names(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match=r"model\.safetensors is the pointer of a file in Git LFS; run git lfs pull"):
        files.tensor_names(path)
    with pytest.raises(ValueError, match=r"gone\.safetensors is missing"):
        files.tensor_names(tmp_path / "gone.safetensors")


def test_gzip_stops_at_the_limit():
    bomb = gzip.compress(bytes(10**7))
    assert files.gunzip(bomb, "a.gz", 10**7) == bytes(10**7)
    assert files.gunzip(gzip.compress(b"ab") + gzip.compress(b"c") + bytes(5), "a.gz", 3) == b"abc"
    with pytest.raises(ValueError, match=r"a\.gz decompresses to more than 9,999,999 bytes"):
        files.gunzip(bomb, "a.gz", 10**7 - 1)
    damaged = bytearray(bomb)
    damaged[20] ^= 255
    for content, cause in ((bomb[:-9], "it ends too early"), (bytes(damaged), "Error -3"), (b"\x1f\x8bno", "Error -3")):
        with pytest.raises(ValueError, match=rf"a\.gz is not a whole gzip file \({cause}"):
            files.gunzip(content, "a.gz", 10**7)


def stored(array, **changes):
    """Bytes of an array with parts of its header replaced."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = buffer.getvalue()
    header = content[10:128].decode()
    for old, new in changes.items():
        header = header.replace({"shape": "(2, 3)", "dtype": "'<f4'", "order": "False"}[old], new)
    return content[:8] + struct.pack("<H", len(header)) + header.encode() + content[128:]


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("array", [VALUES, VALUES.T, np.array("text"), np.zeros((0, 3), bool), np.array(["a", "bc"])])
def test_an_array_comes_back(array):
    content = stored(array)
    found = files.read_array(io.BytesIO(content), len(content), "array 'x'")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"shape": "(0, 1099511627776, 1099511627776)", "dtype": "'<f4'"}, "has 24 bytes of values"),
        ({"shape": "(2, 4)"}, "has 24 bytes of values, its header says float32 of shape"),
        ({"shape": "(2000000000, 3000000000)"}, "has 24 bytes of values"),
        ({"shape": "(-2, -3)"}, "has 24 bytes of values"),
        ({"shape": "(9, 9", "dtype": "'<U0'"}, "has no header"),
        ({"shape": "(10**9,)"}, "has no header"),
        ({"dtype": "'|V0'"}, "has 24 bytes of values"),
        ({"dtype": "'|O'"}, "holds Python objects, which are not unpickled"),
        ({"dtype": "'nothing'"}, "has no header"),
        ({"order": "[" * 300}, "has no header"),
        ({"order": "False, " + " " * 20_000}, "has no header"),
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(changes, cause):
    content = stored(VALUES, **changes)
    with pytest.raises(ValueError, match=rf"^array 'x' {cause}"):
        files.read_array(io.BytesIO(content), len(content), "array 'x'")


def test_characters_that_there_are_none_of_are_refused():
    content = stored(np.array([0x110000], np.uint32)).replace(b"'<u4'", b"'<U1'")
    with pytest.raises(ValueError, match="holds characters that there are none of"):
        files.read_array(io.BytesIO(content), len(content), "array 'x'")


def test_a_configuration_that_its_weights_cannot_go_with_is_refused(tmp_path):
    path = tmp_path / "config.json"
    save_file({"weight": torch.zeros(500_000)}, tmp_path / "model.safetensors")
    files.check_sizes({"depth": 12, "args": [{"width": 2_000_000}], "name": "x", "rate": float("nan")}, path)
    with pytest.raises(ValueError, match=r"config\.json has width = 1000000000, more than the weights beside it"):
        files.check_sizes({"depth": 12, "args": [{"width": 10**9}]}, path)


def test_a_network_that_its_weights_cannot_fill_is_not_built(tmp_path):
    save_file(nn.Linear(10, 10).state_dict(), tmp_path / "model.safetensors")
    with files.limit_network(tmp_path):
        nn.Sequential(*(nn.Linear(10, 10) for _ in range(10)))
    for build in (lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(1000))), lambda: nn.Linear(10**5, 10**5)):
        with pytest.raises(ValueError, match="its weights cannot fill"), files.limit_network(tmp_path):
            build()
    nn.Linear(5000, 5000)


def test_dimensions_that_no_array_can_have_are_refused_where_there_are_no_values(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1099511627776, 1099511627776)}"
    content = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    with pytest.raises(ValueError, match=r"array 'x' declares the shape \(0, 1099511627776"):
        files.read_array(io.BytesIO(content), len(content), "array 'x'")
    (tmp_path / "set.idx").write_bytes(struct.pack(">4B5I", 0, 0, 8, 5, 0, *[2**32 - 1] * 4))
    with pytest.raises(ValueError, match=r"set\.idx declares the shape \(0, 4294967295"):
        read_idx(tmp_path / "set.idx")
