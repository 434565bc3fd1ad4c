"""The noise of `vl_core.noise.gaussian` inside a Triton kernel: the same words, and normals equal to 1e-6.

Logarithm, sine and cosine are polynomials of our own. A GPU's fast logarithm has an absolute error, which near one, in
front of a square root, is far too large; and the exact ones differ between NVIDIA, AMD and the interpreter. The
polynomials were fitted for the least relative error by Lawson's iteration, and err by less than 1e-8 before rounding.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LN2 = tl.constexpr(0.6931471805599453)
_SQRT_HALF_BITS = tl.constexpr(0x3F3504F3)  # of the float32 sqrt(1/2)
_ANGLE = tl.constexpr(1.4629180792671596e-09)  # pi / 2**31
_TWO_OVER_PI = tl.constexpr(0.6366197723675814)
_HALF_PI = tl.constexpr(1.57079637050628662109375)  # in float32
_HALF_PI_REST = tl.constexpr(-4.37113900018624283e-08)  # what float32 leaves of it


@triton.jit
def words(key_low_high, row_counter, blocks):
    """Four 32-bit words for each block of a row: Philox 4x32-10 in the layout of `vl_core.noise`.

    Args:
        key_low_high: int64, the first column of the row's key.
        row_counter: int64, the second.
        blocks: int32 ``[T]``, numbers of blocks.
    """
    zeros = tl.zeros(blocks.shape, tl.int32)
    low = zeros + (row_counter & 0xFFFFFFFF).to(tl.uint32).to(tl.int32, bitcast=True)
    high = zeros + ((row_counter >> 32) & 0xFFFFFFFF).to(tl.uint32).to(tl.int32, bitcast=True)
    return tl.philox(key_low_high, blocks, zeros, low, high)


@triton.jit
def _log(u):
    """Natural logarithm of float32 in (0, 1], accurate relative to its result."""
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - _SQRT_HALF_BITS) >> 23
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0  # in [sqrt(1/2) - 1, sqrt(2) - 1], exact
    p = -0.07622108608484268
    p = p * f + 0.12904690206050873
    p = p * f - 0.13242976367473602
    p = p * f + 0.14181779325008392
    p = p * f - 0.16609077155590057
    p = p * f + 0.20001976191997528
    p = p * f - 0.25001582503318787
    p = p * f + 0.33333325386047363
    p = p * f - 0.49999988079071045
    return exponent.to(tl.float32) * _LN2 + (f + f * f * p)


@triton.jit
def _sine_cosine(angle):
    """Sine and cosine of float32 angles in [-pi, pi]."""
    turns = angle * _TWO_OVER_PI
    quarter = (turns + tl.where(turns < 0, -0.5, 0.5)).to(tl.int32)  # rounded to nearest: -2 ... 2
    quarters = quarter.to(tl.float32)
    # The first product and difference are exact, whether or not they are fused.
    r = (angle - quarters * _HALF_PI) - quarters * _HALF_PI_REST
    square = r * r
    sine = r + r * square * (-0.16666655242443085 + square * (0.008332173340022564 - square * 0.00019516656175255775))
    cosine = 1.0 + square * (
        -0.5 + square * (0.04166664555668831 + square * (-0.001388736185617745 + square * 2.4437729734927416e-05))
    )
    swapped = (quarter & 1) != 0
    found_sine, found_cosine = tl.where(swapped, cosine, sine), tl.where(swapped, sine, cosine)
    sine_sign = tl.where((quarter & 2) != 0, -1.0, 1.0)
    cosine_sign = tl.where(((quarter + 1) & 2) != 0, -1.0, 1.0)
    return found_sine * sine_sign, found_cosine * cosine_sign


@triton.jit
def _box_muller(radius_word, angle_word):
    """Two normals from two words, as `vl_core.noise` defines them."""
    uniform = (radius_word.to(tl.int64) + 1).to(tl.float32) * 2.3283064365386963e-10  # 2**-32
    radius = tl.sqrt(-2.0 * _log(uniform))
    sine, cosine = _sine_cosine(angle_word.to(tl.int32, bitcast=True).to(tl.float32) * _ANGLE)
    return radius * cosine, radius * sine


@triton.jit
def normals(key_low_high, row_counter, first_block, BLOCKS: tl.constexpr):
    """Normals ``[4 * BLOCKS]`` of a row from a block on; see `words`."""
    x0, x1, x2, x3 = words(key_low_high, row_counter, first_block + tl.arange(0, BLOCKS))
    n0, n1 = _box_muller(x0, x1)
    n2, n3 = _box_muller(x2, x3)
    return tl.reshape(tl.join(tl.join(n0, n2), tl.join(n1, n3)), (4 * BLOCKS,))
