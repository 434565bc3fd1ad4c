"""Triton's interpreter does the 32-bit arithmetic that counter-based noise is made of, exactly.

Kernels are checked on machines without a GPU by running them through the interpreter. This checks the ground under
those tests: a kernel written here, with a ragged end to mask, against Python's own integers.
"""

from __future__ import annotations

import pytest
import torch

PHILOX_MULTIPLIER = 0xD2511F53  # Salmon et al., 2011: the first multiplier of Philox 4x32


@pytest.mark.interpreter
@pytest.mark.parametrize("count", [1, 63, 64, 401])
def test_wide_multiplication_matches_python_integers(count: int):
    import triton  # not at the top: Triton reads TRITON_INTERPRET when it is first imported
    import triton.language as tl

    @triton.jit
    def multiply_wide(counter_ptr, high_ptr, low_ptr, n, multiplier, BLOCK: tl.constexpr):
        i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        counter = tl.load(counter_ptr + i, mask=i < n, other=0).to(tl.uint32)
        factor = tl.full((BLOCK,), multiplier, tl.uint32)
        tl.store(high_ptr + i, tl.umulhi(counter, factor).to(tl.int64), mask=i < n)
        tl.store(low_ptr + i, (counter * factor).to(tl.int64), mask=i < n)

    counters = torch.randint(0, 2**32, (count,), generator=torch.Generator().manual_seed(count))  # [N] int64
    counters[0] = 2**32 - 1
    high, low = torch.full((2, count + 1), -1, dtype=torch.int64)  # one place more, which must stay untouched

    multiply_wide[(triton.cdiv(count, 64),)](counters, high, low, count, PHILOX_MULTIPLIER, BLOCK=64)

    products = [value * PHILOX_MULTIPLIER for value in counters.tolist()]
    assert high.tolist() == [product >> 32 for product in products] + [-1]
    assert low.tolist() == [product & 0xFFFFFFFF for product in products] + [-1]
