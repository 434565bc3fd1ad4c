"""Triton kernels of the loss: statistics of both maps, gradients from tiles made again, and a whole head at once.

Letters: ``M`` query rows of a tile, ``N`` its key columns, ``D`` dimensions of a head padded to a power of two, ``G``
teacher heads that a student head learns from. Logits are in base 2 (times ``log2 e``), statistics in float32.

Every kernel takes the inputs in the same form::

    student  (q, k, head_scale or None, bias or None)         pointers
    teacher  (q, k, head_scale or None, bias or None)
    strides  of each side: (q by image, head, row; k likewise; bias by image, head, row, column)
    rows     (mask or None, its stride by image; row weight or None, its strides by image, head, row)
    heads    teacher heads [H, G], or None for the heads of the same numbers
    scales   (student, teacher), log2 e included

No tile of one program is written by another: results do not depend on the order in which programs run. Images and
heads are counted in 64 bits, places within a head in 32.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _product(a, b, PRECISION: tl.constexpr):
    """Matrix product summed in float32. The interpreter takes no bfloat16, whose numbers float32 holds as they are."""
    if PRECISION == "interpreter":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _place(tiles, head_count):
    """Index of this program's tile, its (image, head) pair, image and head."""
    pair = (tl.program_id(0) // tiles).to(tl.int64)
    return tl.program_id(0) % tiles, pair, pair // head_count, pair % head_count


@triton.jit
def _rows_of(pointer, offset, stride, rows, count, WIDTH: tl.constexpr, D: tl.constexpr):
    """Rows ``[M, D]`` of a matrix ``[count, WIDTH]``; zeros beyond its edges."""
    columns = tl.arange(0, D)
    inside = (rows[:, None] < count) & (columns[None, :] < WIDTH)
    return tl.load(pointer + offset + (rows[:, None] * stride + columns[None, :]), mask=inside, other=0.0)


@triton.jit
def _store_rows(pointer, values, rows, count, WIDTH: tl.constexpr, D: tl.constexpr):
    """Write rows ``[M, D]`` into a matrix ``[count, WIDTH]`` without gaps."""
    columns = tl.arange(0, D)
    inside = (rows[:, None] < count) & (columns[None, :] < WIDTH)
    place = rows[:, None] * WIDTH + columns[None, :]
    tl.store(pointer + place, values.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _queries(side, strides, image, head, rows, count, WIDTH: tl.constexpr, D: tl.constexpr):
    return _rows_of(side[0], image * strides[0] + head * strides[1], strides[2], rows, count, WIDTH, D)


@triton.jit
def _keys(side, strides, image, head, rows, count, WIDTH: tl.constexpr, D: tl.constexpr):
    return _rows_of(side[1], image * strides[3] + head * strides[4], strides[5], rows, count, WIDTH, D)


@triton.jit
def _open_keys(row_options, image, columns, count):
    """Mask ``[N]`` of the keys of a tile that take part."""
    inside = columns < count
    if row_options[0] is not None:
        inside &= tl.load(row_options[0] + image * row_options[1] + columns, mask=inside, other=0) != 0
    return inside


@triton.jit
def _weights(row_options, image, head, rows, count):
    """Weights of a tile's rows ``[M]``, zero beyond the last row."""
    inside = rows < count
    if row_options[2] is not None:
        offset = image * row_options[3] + head * row_options[4]
        weight = tl.load(row_options[2] + offset + rows * row_options[5], mask=inside, other=0.0)
        return weight.to(tl.float32)
    return tl.where(inside, 1.0, 0.0)


@triton.jit
def _scale(side, head, scale):
    """Scale of the products of queries and keys."""
    if side[2] is not None:
        return scale * tl.load(side[2] + head).to(tl.float32)
    return scale


@triton.jit
def _logits(q, k, side, strides, image, head, scale, rows, columns, open_keys, count, PRECISION: tl.constexpr):
    """Base-2 logits ``[M, N]``; minus infinity where a key takes no part."""
    logits = _product(q, tl.trans(k), PRECISION) * _scale(side, head, scale)
    if side[3] is not None:
        offset = image * strides[6] + head * strides[7]
        place = rows[:, None] * strides[8] + columns[None, :] * strides[9]
        inside = (rows[:, None] < count) & (columns[None, :] < count)
        logits += tl.load(side[3] + offset + place, mask=inside, other=0.0).to(tl.float32) * LOG2E
    return tl.where(open_keys[None, :], logits, float("-inf"))


@triton.jit
def _taught_head(heads, head, member, G: tl.constexpr):
    if heads is not None:
        return tl.load(heads + head * G + member).to(tl.int64)
    return head


@triton.jit
def _grow(maximum, logits):
    """The new row maximum ``[M]``, what old sums are multiplied by, and ``exp2(logits - maximum)``."""
    larger = tl.maximum(maximum, tl.max(logits, 1))
    base = tl.where(larger == float("-inf"), 0.0, larger)  # no key so far
    return larger, tl.exp2(maximum - base), tl.exp2(logits - base[:, None])


@triton.jit
def statistics(
    student, student_strides, teacher, teacher_strides, row_options, heads, scales,
    loss,  # [B * H, row tiles] weighted sums over a tile's rows, in nats
    student_lse,  # [B * H, N] base-2 log-sum-exp
    teacher_lse,  # [B * H, G, N]
    head_count, count,
    WIDTH: tl.constexpr, TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr, ENTROPY: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, TAUGHT_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Cross-entropy, or KL divergence, and both log-sum-exps, with running maxima and sums over the keys.

    ``CE = lse_s - sum_j p_t z_s / sum_j p_t``. The entropy is subtracted for ``G = 1`` alone.
    """
    tiles = tl.cdiv(count, M)
    tile, pair, image, head = _place(tiles, head_count)
    rows = tile * M + tl.arange(0, M)
    q = _queries(student, student_strides, image, head, rows, count, WIDTH, D)
    lse = tl.zeros((M,), tl.float32)
    cross = tl.zeros((M,), tl.float32)
    entropy = tl.zeros((M,), tl.float32)
    for member in range(G):
        taught_head = _taught_head(heads, head, member, G)
        q_taught = _queries(teacher, teacher_strides, image, taught_head, rows, count, TAUGHT_WIDTH, TAUGHT_D)
        maximum = tl.full((M,), float("-inf"), tl.float32)  # the student's are found again with every teacher head
        total = tl.zeros((M,), tl.float32)
        taught_maximum = tl.full((M,), float("-inf"), tl.float32)
        taught_total = tl.zeros((M,), tl.float32)
        expected = tl.zeros((M,), tl.float32)  # of the student's logit under the teacher
        expected_own = tl.zeros((M,), tl.float32)  # of the teacher's
        for start in range(0, count, N):
            columns = start + tl.arange(0, N)
            open_keys = _open_keys(row_options, image, columns, count)
            k = _keys(student, student_strides, image, head, columns, count, WIDTH, D)
            z = _logits(
                q, k, student, student_strides, image, head, scales[0], rows, columns, open_keys, count, PRECISION
            )
            k_taught = _keys(teacher, teacher_strides, image, taught_head, columns, count, TAUGHT_WIDTH, TAUGHT_D)
            z_taught = _logits(
                q_taught, k_taught, teacher, teacher_strides, image, taught_head, scales[1], rows, columns, open_keys,
                count, PRECISION,
            )  # fmt: skip
            taught_maximum, shrink, p_taught = _grow(taught_maximum, z_taught)
            taught_total = taught_total * shrink + tl.sum(p_taught, 1)
            expected = expected * shrink + tl.sum(p_taught * tl.where(p_taught > 0, z, 0.0), 1)
            if ENTROPY:
                expected_own = expected_own * shrink + tl.sum(p_taught * tl.where(p_taught > 0, z_taught, 0.0), 1)
            maximum, shrink, p = _grow(maximum, z)
            total = total * shrink + tl.sum(p, 1)
        taught_lse = taught_maximum + tl.log2(taught_total)
        tl.store(teacher_lse + (pair * G + member) * count + rows, taught_lse, mask=rows < count)
        lse = maximum + tl.log2(total)
        cross += expected / taught_total / G
        if ENTROPY:
            entropy += taught_lse - expected_own / taught_total
    tl.store(student_lse + pair * count + rows, lse, mask=rows < count)
    weight = _weights(row_options, image, head, rows, count)
    row_loss = tl.where(weight != 0, weight * (lse - cross - entropy), 0.0)
    tl.store(loss + pair * tiles + tile, tl.sum(row_loss, 0) * LN2)


@triton.jit
def _taught_map(
    teacher, teacher_strides, teacher_lse, heads, scale, image, head, pair, rows, columns, open_keys, count, q, k,
    TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr, TAUGHT_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile ``[M, N]`` of the teacher's probabilities, averaged over heads; `q` or `k` if they are at hand already."""
    taught = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32)
    for member in range(G):
        taught_head = _taught_head(heads, head, member, G)
        if q is None:
            q_taught = _queries(teacher, teacher_strides, image, taught_head, rows, count, TAUGHT_WIDTH, TAUGHT_D)
        else:
            q_taught = q
        if k is None:
            k_taught = _keys(teacher, teacher_strides, image, taught_head, columns, count, TAUGHT_WIDTH, TAUGHT_D)
        else:
            k_taught = k
        z = _logits(
            q_taught, k_taught, teacher, teacher_strides, image, taught_head, scale, rows, columns, open_keys, count,
            PRECISION,
        )  # fmt: skip
        lse = tl.load(teacher_lse + (pair * G + member) * count + rows, mask=rows < count, other=0.0)
        taught += tl.exp2(z - lse[:, None]) / G
    return taught


@triton.jit
def _difference(
    student, student_strides, teacher, teacher_strides, heads, scales, student_lse, teacher_lse,
    image, head, pair, rows, columns, open_keys, count, q, k, q_taught, k_taught,
    TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr, TAUGHT_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile ``[M, N]`` of ``P_s - P_t``, in float32; the teacher's queries or keys if they are at hand already."""
    z = _logits(q, k, student, student_strides, image, head, scales[0], rows, columns, open_keys, count, PRECISION)
    lse = tl.load(student_lse + pair * count + rows, mask=rows < count, other=0.0)
    taught = _taught_map(
        teacher, teacher_strides, teacher_lse, heads, scales[1], image, head, pair, rows, columns, open_keys, count,
        q_taught, k_taught, TAUGHT_WIDTH, G, TAUGHT_D, PRECISION,
    )  # fmt: skip
    return tl.exp2(z - lse[:, None]) - taught


@triton.jit
def q_gradient(
    student, student_strides, teacher, teacher_strides, row_options, heads, scales,
    student_lse, teacher_lse,
    dq,  # [B * H, N, WIDTH]
    dscale,  # [B * H, row tiles], or None
    head_count, count,
    WIDTH: tl.constexpr, TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, TAUGHT_D: tl.constexpr, LIFT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """``dq = c w (P_s - P_t) k``, and the tile's part of the gradient by the head's scale, ``sum q dq / head_scale``.

    The difference is formed in float32 and then cast for the matrix unit, times ``LIFT``, which keeps it in float16's
    normal range.
    """
    tiles = tl.cdiv(count, M)
    tile, pair, image, head = _place(tiles, head_count)
    rows = tile * M + tl.arange(0, M)
    q = _queries(student, student_strides, image, head, rows, count, WIDTH, D)
    q_taught = None
    if G == 1:
        taught_head = _taught_head(heads, head, 0, G)
        q_taught = _queries(teacher, teacher_strides, image, taught_head, rows, count, TAUGHT_WIDTH, TAUGHT_D)
    found = tl.zeros((M, D), tl.float32)
    for start in range(0, count, N):
        columns = start + tl.arange(0, N)
        open_keys = _open_keys(row_options, image, columns, count)
        k = _keys(student, student_strides, image, head, columns, count, WIDTH, D)
        difference = _difference(
            student, student_strides, teacher, teacher_strides, heads, scales, student_lse, teacher_lse,
            image, head, pair, rows, columns, open_keys, count, q, k, q_taught, None,
            TAUGHT_WIDTH, G, TAUGHT_D, PRECISION,
        )  # fmt: skip
        difference *= LIFT
        found += _product(difference.to(k.dtype), k, PRECISION)
    found *= (_weights(row_options, image, head, rows, count) * (scales[0] * LN2 / LIFT))[:, None]
    if dscale is not None:
        tl.store(dscale + pair * tiles + tile, tl.sum(tl.sum(found * q.to(tl.float32), 1), 0))
        found *= tl.load(student[2] + head).to(tl.float32)
    _store_rows(dq + pair * count * WIDTH, found, rows, count, WIDTH, D)


@triton.jit
def k_gradient(
    student, student_strides, teacher, teacher_strides, row_options, heads, scales,
    student_lse, teacher_lse,
    dk,  # [B * H, N, WIDTH]
    head_count, count,
    WIDTH: tl.constexpr, TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, TAUGHT_D: tl.constexpr, LIFT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """``dk = c (P_s - P_t)^T w q``, one tile of keys a program, over all query rows."""
    tiles = tl.cdiv(count, N)
    tile, pair, image, head = _place(tiles, head_count)
    columns = tile * N + tl.arange(0, N)
    open_keys = _open_keys(row_options, image, columns, count)
    k = _keys(student, student_strides, image, head, columns, count, WIDTH, D)
    k_taught = None
    if G == 1:
        taught_head = _taught_head(heads, head, 0, G)
        k_taught = _keys(teacher, teacher_strides, image, taught_head, columns, count, TAUGHT_WIDTH, TAUGHT_D)
    found = tl.zeros((N, D), tl.float32)
    for start in range(0, count, M):
        rows = start + tl.arange(0, M)
        q = _queries(student, student_strides, image, head, rows, count, WIDTH, D)
        difference = _difference(
            student, student_strides, teacher, teacher_strides, heads, scales, student_lse, teacher_lse,
            image, head, pair, rows, columns, open_keys, count, q, k, None, k_taught,
            TAUGHT_WIDTH, G, TAUGHT_D, PRECISION,
        )  # fmt: skip
        difference *= LIFT
        if row_options[2] is not None:
            q = (q.to(tl.float32) * _weights(row_options, image, head, rows, count)[:, None]).to(q.dtype)
        found += _product(tl.trans(difference.to(q.dtype)), q, PRECISION)
    found *= _scale(student, head, scales[0] * LN2 / LIFT)
    _store_rows(dk + pair * count * WIDTH, found, columns, count, WIDTH, D)


@triton.jit
def bias_gradient(
    student, student_strides, teacher, teacher_strides, row_options, heads, scales,
    student_lse, teacher_lse,
    upstream,  # [B, H] gradient by each head's loss
    dbias,  # [B or 1, H or 1, N, N]
    image_count, head_count, count,
    WIDTH: tl.constexpr, TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr,
    SUM_IMAGES: tl.constexpr, SUM_HEADS: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, TAUGHT_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``dbias = sum of upstream w (P_s - P_t)`` over the images and heads that share the bias, one tile a program."""
    row_tiles, column_tiles = tl.cdiv(count, M), tl.cdiv(count, N)
    plane = (tl.program_id(0) // (row_tiles * column_tiles)).to(tl.int64)
    tile = tl.program_id(0) % (row_tiles * column_tiles)
    rows = (tile // column_tiles) * M + tl.arange(0, M)
    columns = (tile % column_tiles) * N + tl.arange(0, N)
    planes_an_image = 1 if SUM_HEADS else head_count
    first_image = 0 if SUM_IMAGES else plane // planes_an_image
    first_head = 0 if SUM_HEADS else plane % planes_an_image
    images = image_count if SUM_IMAGES else 1
    heads_summed = head_count if SUM_HEADS else 1
    found = tl.zeros((M, N), tl.float32)
    for step in range(0, images * heads_summed):
        image = (first_image + step // heads_summed).to(tl.int64)
        head = (first_head + step % heads_summed).to(tl.int64)
        pair = image * head_count + head
        open_keys = _open_keys(row_options, image, columns, count)
        q = _queries(student, student_strides, image, head, rows, count, WIDTH, D)
        k = _keys(student, student_strides, image, head, columns, count, WIDTH, D)
        difference = _difference(
            student, student_strides, teacher, teacher_strides, heads, scales, student_lse, teacher_lse,
            image, head, pair, rows, columns, open_keys, count, q, k, None, None,
            TAUGHT_WIDTH, G, TAUGHT_D, PRECISION,
        )  # fmt: skip
        weight = _weights(row_options, image, head, rows, count) * tl.load(upstream + pair).to(tl.float32)
        found += difference * weight[:, None]
    place = rows[:, None] * count + columns[None, :]
    inside = (rows[:, None] < count) & (columns[None, :] < count)
    tl.store(dbias + plane * count * count + place, found.to(dbias.dtype.element_ty), mask=inside)


@triton.jit
def average_entropy(
    teacher, teacher_strides, row_options, heads, scales,
    teacher_lse,
    entropy,  # [B * H, row tiles] weighted sums over a tile's rows, in nats
    head_count, count,
    TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr, M: tl.constexpr, N: tl.constexpr, TAUGHT_D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Entropy of the average of several teacher heads: it takes their log-sum-exps, so a second pass over the keys."""
    tiles = tl.cdiv(count, M)
    tile, pair, image, head = _place(tiles, head_count)
    rows = tile * M + tl.arange(0, M)
    found = tl.zeros((M,), tl.float32)
    for start in range(0, count, N):
        columns = start + tl.arange(0, N)
        open_keys = _open_keys(row_options, image, columns, count)
        taught = _taught_map(
            teacher, teacher_strides, teacher_lse, heads, scales[1], image, head, pair, rows, columns, open_keys,
            count, None, None, TAUGHT_WIDTH, G, TAUGHT_D, PRECISION,
        )  # fmt: skip
        found -= tl.sum(taught * tl.log2(tl.where(taught > 0, taught, 1.0)), 1)
    weighted = found * _weights(row_options, image, head, rows, count)
    tl.store(entropy + pair * tiles + tile, tl.sum(weighted, 0) * LN2)


@triton.jit
def whole_head(
    student, student_strides, teacher, teacher_strides, row_options, heads, scales,
    loss,  # [B * H], in nats
    dq, dk,  # [B * H, N, WIDTH], or None
    dscale,  # [B * H], or None
    head_count, count,
    WIDTH: tl.constexpr, TAUGHT_WIDTH: tl.constexpr, G: tl.constexpr, ENTROPY: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, TAUGHT_D: tl.constexpr, LIFT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Loss and gradients of a head whose keys fit on the chip (``N`` columns hold them all), each map made once.

    Rows come a tile at a time with all their logits, so that softmax is exact and takes one pass; ``dk`` is summed in
    registers.
    """
    pair = tl.program_id(0).to(tl.int64)
    image, head = pair // head_count, pair % head_count
    columns = tl.arange(0, N)
    open_keys = _open_keys(row_options, image, columns, count)
    k = _keys(student, student_strides, image, head, columns, count, WIDTH, D)
    if G == 1:
        only_head = _taught_head(heads, head, 0, G)
        only_k = _keys(teacher, teacher_strides, image, only_head, columns, count, TAUGHT_WIDTH, TAUGHT_D)
    found = tl.zeros((N, D), tl.float32)
    total = 0.0
    scale_total = 0.0
    for start in range(0, count, M):
        rows = start + tl.arange(0, M)
        taught = tl.zeros((M, N), tl.float32)
        for member in range(G):
            taught_head = _taught_head(heads, head, member, G)
            q_taught = _queries(teacher, teacher_strides, image, taught_head, rows, count, TAUGHT_WIDTH, TAUGHT_D)
            if G == 1:
                k_taught = only_k
            else:
                k_taught = _keys(teacher, teacher_strides, image, taught_head, columns, count, TAUGHT_WIDTH, TAUGHT_D)
            z_taught = _logits(
                q_taught, k_taught, teacher, teacher_strides, image, taught_head, scales[1], rows, columns, open_keys,
                count, PRECISION,
            )  # fmt: skip
            p_taught = tl.exp2(z_taught - tl.max(z_taught, 1)[:, None])
            taught += p_taught / (tl.sum(p_taught, 1) * G)[:, None]
        q = _queries(student, student_strides, image, head, rows, count, WIDTH, D)
        z = _logits(q, k, student, student_strides, image, head, scales[0], rows, columns, open_keys, count, PRECISION)
        z -= tl.max(z, 1)[:, None]
        z -= tl.log2(tl.sum(tl.exp2(z), 1))[:, None]
        row_loss = -tl.sum(taught * tl.where(taught > 0, z, 0.0), 1)
        if ENTROPY:
            row_loss += tl.sum(taught * tl.log2(tl.where(taught > 0, taught, 1.0)), 1)
        weight = _weights(row_options, image, head, rows, count)
        total += tl.sum(tl.where(weight != 0, weight * row_loss, 0.0), 0)
        if dq is not None:
            difference = ((tl.exp2(z) - taught) * LIFT).to(k.dtype)
            if row_options[2] is None:
                # Rows beyond the last have queries of zeros, which add nothing to dk.
                found += _product(tl.trans(difference), q, PRECISION)
            else:
                weighted_q = (q.to(tl.float32) * weight[:, None]).to(q.dtype)
                found += _product(tl.trans(difference), weighted_q, PRECISION)
            row_gradient = _product(difference, k, PRECISION)
            row_gradient *= (weight * (scales[0] * LN2 / LIFT))[:, None]
            if dscale is not None:
                scale_total += tl.sum(tl.sum(row_gradient * q.to(tl.float32), 1), 0)
                row_gradient *= tl.load(student[2] + head).to(tl.float32)
            _store_rows(dq + pair * count * WIDTH, row_gradient, rows, count, WIDTH, D)
    tl.store(loss + pair, total * LN2)
    if dq is not None:
        found *= _scale(student, head, scales[0] * LN2 / LIFT)
        _store_rows(dk + pair * count * WIDTH, found, columns, count, WIDTH, D)
    if dscale is not None:
        tl.store(dscale + pair, scale_total)
