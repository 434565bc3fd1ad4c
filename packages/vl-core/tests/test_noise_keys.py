"""Keys are distinct for distinct (seed, image, draw), and out-of-range numbers are refused rather than wrapped."""

import pytest
import torch
from vl_core.noise import make_keys


def test_columns_are_the_image_and_the_packed_seed_and_draw():
    assert make_keys(3, -7, 5).tolist() == [-7, 3 * 2**32 + 5]


def test_arguments_broadcast():
    keys = make_keys(1, torch.arange(4)[:, None], torch.arange(3))
    assert keys.shape == (4, 3, 2)
    assert torch.equal(keys[2, 1], make_keys(1, 2, 1))
    assert make_keys([0, 1], 5, 6).shape == (2, 2)
    assert make_keys(torch.tensor([0, 1], dtype=torch.int32), 5, 6).dtype == torch.int64


def test_distinct_triples_give_distinct_keys():
    extremes = torch.tensor([-(2**63), -1, 0, 1, 2**63 - 1])
    seeds, draws = torch.tensor([0, 1, 2**31 - 1]), torch.tensor([0, 1, 2**32 - 1])
    keys = make_keys(seeds[:, None, None], extremes[:, None], draws).flatten(0, -2)
    assert len(keys.unique(dim=0)) == len(keys) == 45


def test_no_images_give_no_keys():
    assert make_keys(0, torch.empty(0, dtype=torch.int64), 1).shape == (0, 2)
    assert make_keys(0, [], 1).shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 0, 0), ValueError, r"seed must lie in \[0, 2\*\*31\), got -1 to -1"),
        ((2**31, 0, 0), ValueError, "seed must lie in"),
        ((0, 0, -1), ValueError, r"draws must lie in \[0, 2\*\*32\)"),
        ((0, 0, torch.tensor([3, 2**32])), ValueError, "draws must lie in .* got 3 to 4294967296"),
        ((0, 2**63, 0), ValueError, "image_ids must be integers of 64 signed bits"),
        ((0, [[1], [2, 3]], 0), ValueError, "image_ids must be integers"),
        ((0.0, 0, 0), TypeError, "seed must be integers, got torch.float32"),
        ((0, torch.zeros(2), 0), TypeError, "image_ids must be integers"),
        ((0, 0, True), TypeError, "draws must be integers, got torch.bool"),
        ((0, torch.arange(3), torch.arange(2)), ValueError, r"must broadcast to one shape, got \(\), \(3,\), \(2,\)"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make_keys(*arguments)
