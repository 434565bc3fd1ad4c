"""Pairing of layers and heads, and refused specifications."""

import json

import numpy as np
import pytest
import torch
from vl_attention import pair_heads, pair_layers
from vl_attention.attention.pairing import as_pairs


@pytest.mark.parametrize(
    ("layers", "student", "teacher", "pairs"),
    [
        ("all", 2, 2, [(0, 0), (1, 1)]),
        ("first:2", 3, 6, [(0, 0), (1, 1)]),
        ("first:75%", 4, 8, [(0, 0), (1, 1), (2, 2)]),
        ("last:2", 3, 6, [(1, 4), (2, 5)]),
        ("spread", 3, 6, [(0, 1), (1, 3), (2, 5)]),
        ("spread", 4, 2, [(0, 0), (1, 0), (2, 1), (3, 1)]),
        ([-1, 0], 3, 6, [(0, 0), (2, 5)]),
        ({2: 0, 0: 5}, 3, 6, [(0, 5), (2, 0)]),
        ([(1, -1)], 3, 6, [(1, 5)]),
    ],
)
def test_layers_are_paired(layers, student, teacher, pairs):
    assert pair_layers(layers, student, teacher) == pairs


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ("all", r"equal depths.*use 'spread'"),
        ("middle:2", r"'first:K'.*got 'middle:2'"),
        ("first:4", r"names 4, and there are 3"),
        ("first:0", r"names 0"),
        ([3], r"student layer 3, and there are 3"),
        ({0: 6}, r"teacher layer 6, and there are 6"),
        ({0: 1, -3: 2}, r"each layer of the student once"),
        ([], r"at least one layer"),
        ([True], r"whole numbers"),
        ([(0, 1, 2)], r"\(student, teacher\) pairs"),
    ],
)
def test_layers_that_cannot_be_paired_are_refused(layers, match):
    with pytest.raises(ValueError, match=match):
        pair_layers(layers, 3, 6)


@pytest.mark.parametrize(
    ("heads", "student", "teacher", "expected"),
    [
        ("all", 3, 3, None),
        ("all", 2, 4, [[0, 1], [2, 3]]),
        ("first:2", 3, 3, [0, 1, None]),
        ("last:1", 3, 3, [None, None, 2]),
        ([-1], 3, 3, [None, None, 2]),
        ({0: [1, -1], 2: 0}, 3, 3, [[1, 2], None, 0]),
        ([(1, [2])], 3, 3, [None, 2, None]),
    ],
)
def test_heads_are_paired(heads, student, teacher, expected):
    assert pair_heads(heads, student, teacher) == expected


@pytest.mark.parametrize(
    ("heads", "match"),
    [
        ("all", r"not a multiple; pass heads="),
        ([3], r"student head 3|teacher head 3"),
        ({0: 4}, r"teacher head 4, and there are 4"),
        ({5: 0}, r"student head 5, and there are 3"),
        ({0: []}, r"empty list"),
        ([(0, 1), (0, 2)], r"each head of the student once"),
        ({0: 1, -3: 2}, r"each head of the student once"),
        ([], r"at least one head"),
        ("some", r"got 'some'"),
    ],
)
def test_heads_that_cannot_be_paired_are_refused(heads, match):
    with pytest.raises(ValueError, match=match):
        pair_heads(heads, 3, 4)


@pytest.mark.parametrize("number", [np.int64(1), np.uint8(1), np.array(1), torch.tensor(1)], ids=repr)
def test_whole_numbers_of_other_libraries_are_taken_and_stored_as_those_of_python(number):
    assert pair_layers([number], 3, 3) == [(1, 1)]
    assert pair_heads([(number, [number, 2])], 3, 3) == [None, [1, 2], None]
    assert json.dumps(as_pairs("heads", [number, (0, number)])) == "[[1, 1], [0, 1]]"
    assert pair_heads(np.array([0, 2]), 3, 3) == [0, None, 2]
    with pytest.raises(ValueError, match=r"for a single one pass \[1\]"):
        pair_layers(number, 3, 3)


@pytest.mark.parametrize("other", [np.float64(1), torch.tensor(1.0), True, np.bool_(True)], ids=repr)
def test_other_numbers_are_no_heads(other):
    with pytest.raises(ValueError, match="heads must hold whole numbers"):
        pair_heads([(0, other)], 3, 3)
