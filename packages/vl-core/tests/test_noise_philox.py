"""Philox words against the published known answers and an explicit loop over Python integers."""

import pytest
import torch
from vl_core.noise import philox

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> torch.Tensor:
    return torch.tensor([int(word, 16) for word in text.split()])


def philox_loop(counter: list[int], key: list[int]) -> list[int]:
    """The generator of the paper's section 3.3, one word at a time in unbounded integers."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 % 2**32, (p0 >> 32) ^ x3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [x0, x1, x2, x3]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    assert torch.equal(philox(words(counter), words(key)), words(answer))


def test_equals_a_loop_over_python_integers():
    generator = torch.Generator().manual_seed(0)
    counter = torch.randint(0, 2**32, (50, 4), generator=generator)
    key = torch.randint(0, 2**32, (50, 2), generator=generator)
    expected = [philox_loop(c, k) for c, k in zip(counter.tolist(), key.tolist(), strict=True)]
    assert philox(counter, key).tolist() == expected


def test_counters_broadcast_against_keys():
    counter, key = torch.arange(12).view(3, 1, 4), torch.arange(10).view(5, 2)
    table = philox(counter, key)
    assert table.shape == (3, 5, 4)
    assert torch.equal(table[2, 3], philox(counter[2, 0], key[3]))
    assert torch.equal(philox(counter[0, 0], key), table[0])


def test_arguments_are_left_as_they_were():
    counter, key = torch.arange(4), torch.arange(2)
    philox(counter, key)
    assert counter.tolist() == [0, 1, 2, 3]
    assert key.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("counter", "key", "error", "message"),
    [
        (torch.zeros(4), torch.zeros(2, dtype=torch.int64), TypeError, "counter must be an int64 tensor"),
        (torch.zeros(4, dtype=torch.int64), [0, 0], TypeError, "key must be an int64 tensor .* got list"),
        (torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), ValueError, r"shape \(\.\.\., 4\)"),
        (torch.zeros(4, dtype=torch.int64), torch.tensor(0), ValueError, r"key must have shape \(\.\.\., 2\)"),
        (torch.full((4,), -1), torch.zeros(2, dtype=torch.int64), ValueError, r"\[0, 2\*\*32\), got -1 to -1"),
        (torch.zeros(4, dtype=torch.int64), torch.full((2,), 2**32), ValueError, "key must hold values"),
    ],
)
def test_what_is_no_word_is_an_error(counter, key, error, message):
    with pytest.raises(error, match=message):
        philox(counter, key)
