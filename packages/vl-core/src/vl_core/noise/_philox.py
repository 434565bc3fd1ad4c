"""Philox 4x32-10, the counter-based generator, in plain PyTorch integers.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3 and table 2. Ten
rounds turn a counter of four 32-bit words under a key of two into four words that pass TestU01's BigCrush.

PyTorch has little arithmetic on unsigned integers, so a word lives in an int64. A product of two words needs 64 bits
and int64 multiplication wraps around, which leaves exactly the right bits; only the sign is to be ignored.
"""

from __future__ import annotations

from torch import Tensor, int64, stack

WORD = 0xFFFFFFFF  # mask of one 32-bit word

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1: what a key grows by each round

Words = tuple[Tensor | int, Tensor | int, Tensor | int, Tensor | int]


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Four pseudo-random 32-bit words for each counter and key.

    Philox 4x32-10 of Salmon et al., 2011; agrees with the known-answer vectors of the authors' Random123 library.

    Args:
        counter: Words ``(..., 4)``, int64 with values in ``[0, 2**32)``.
        key: Words ``(..., 2)``, int64 with values in ``[0, 2**32)``, on the same device; leading dimensions broadcast.

    Returns:
        Words ``(..., 4)``, int64 with values in ``[0, 2**32)``.

    Raises:
        TypeError: If an argument is not an int64 tensor.
        ValueError: If a last dimension is not 4 and 2, or a value does not fit a 32-bit word.

    Example:
        >>> words = philox(torch.zeros(4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
        >>> [f"{word:08x}" for word in words.tolist()]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    _check_words("counter", counter, 4)
    _check_words("key", key, 2)
    x0, x1, x2, x3 = counter.unbind(-1)
    words = philox_rounds((x0, x1, x2, x3), *key.unbind(-1))
    return stack([word & WORD for word in words], dim=-1)


def philox_rounds(counter: Words, key_low: Tensor, key_high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The ten rounds on words that broadcast against each other.

    Words are not copied to a common shape before arithmetic needs it: with one counter word per column and one key per
    row, most of the first two rounds runs on vectors.

    Args:
        counter: Four words, each a tensor or a Python integer.
        key_low: First key word.
        key_high: Second key word.

    Returns:
        Four int64 tensors. The first and third are words; the second and fourth carry a word in their low 32 bits and
        rubbish above it, since a caller that narrows to int32 anyway saves a pass.
    """
    x0, x1, x2, x3 = counter
    for round_index in range(_ROUNDS):
        k0 = (key_low + round_index * _WEYL[0]) & WORD
        k1 = (key_high + round_index * _WEYL[1]) & WORD
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = _mix(p1, x1, k0), p1, _mix(p0, x3, k1), p0
    return x0, x1, x2, x3  # type: ignore[return-value]  # tensors after the first round


def _mix(product: Tensor | int, word: Tensor | int, key: Tensor) -> Tensor:
    """``high(product) ^ word ^ key``, cut to 32 bits; the upper bits of ``word`` are ignored."""
    mixed = (product >> 32) ^ (word ^ key)
    return mixed.bitwise_and_(WORD)


def _check_words(name: str, words: Tensor, count: int) -> None:
    if not isinstance(words, Tensor) or words.dtype != int64:
        got = words.dtype if isinstance(words, Tensor) else type(words).__name__
        raise TypeError(f"{name} must be an int64 tensor of 32-bit words, got {got}")
    if words.ndim == 0 or words.shape[-1] != count:
        raise ValueError(f"{name} must have shape (..., {count}), got {tuple(words.shape)}")
    if words.numel() and not (words.min() >= 0 and words.max() <= WORD):
        raise ValueError(f"{name} must hold values in [0, 2**32), got {int(words.min())} to {int(words.max())}")
