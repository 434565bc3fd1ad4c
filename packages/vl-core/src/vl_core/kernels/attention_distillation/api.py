"""The public function: checks, defaults, the choice of implementation, and the reduction."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from vl_core.kernels.attention_distillation import arguments, ops, sdpa
from vl_core.kernels.attention_distillation.inputs import DistillationInputs, Side
from vl_core.kernels.checks import check_choice, triton_missing

Divergence = Literal["cross_entropy", "kl"]
Reduction = Literal["mean", "sum", "none"]
Impl = Literal["auto", "reference", "sdpa", "triton"]

_TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_TRITON_ROW_BYTES = 512  # of a query or key; beyond, registers spill


def attention_distillation(
    q_student: Tensor,
    k_student: Tensor,
    q_teacher: Tensor,
    k_teacher: Tensor,
    *,
    divergence: Divergence = "cross_entropy",
    reduction: Reduction = "mean",
    scale_student: float | Tensor | None = None,
    scale_teacher: float | Tensor | None = None,
    bias_student: Tensor | None = None,
    bias_teacher: Tensor | None = None,
    key_mask: Tensor | None = None,
    row_weight: Tensor | None = None,
    tokens_student: Tensor | slice | None = None,
    tokens_teacher: Tensor | slice | None = None,
    head_map: arguments.HeadMap | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Cross-entropy or KL divergence from a teacher's attention maps to a student's.

    The loss of Attention Transfer (Li et al., 2024): for each image, head and query, ``-sum_j P_t[j] log P_s[j]`` with
    ``P = softmax(scale * q k^T + bias)`` over the keys ``j``. It is exact and dense, and no map is ever stored, forward
    or backward. The teacher is a constant: no gradient goes there.

    Sizes: ``B`` images, ``H`` student heads, ``T`` teacher heads (as many, unless ``head_map`` says otherwise), ``N``
    tokens, ``d`` dimensions of a head, which may differ between the two.

    Args:
        q_student: The student's queries, ``(B, H, N, d)``, as they enter its attention: after any normalization or
            rotation. float16, bfloat16, float32 or float64.
        k_student: The student's keys, of the same shape and dtype.
        q_teacher: The teacher's queries, ``(B, T, N, d)``. Head dimension and dtype may differ from the student's.
        k_teacher: The teacher's keys, of the same shape and dtype.
        divergence: ``"cross_entropy"``, or ``"kl"``, which subtracts the teacher's entropy: zero where the maps agree,
            with the same gradients.
        reduction: ``"mean"`` over images, heads and rows; ``"sum"``; or ``"none"``: the mean over rows, ``(B, H)``.
        scale_student: What the products of queries and keys are multiplied by, ``d**-0.5`` by default. A temperature
            ``t`` is a scale of ``d**-0.5 / t``. A tensor, ``()`` or one number a head ``(H,)``, receives a gradient.
        scale_teacher: The same for the teacher; ``()`` or ``(T,)`` if it is a tensor.
        bias_student: Added to the logits; broadcasts to ``(B, H, N, N)``. Receives a gradient, of its own shape.
        bias_teacher: The same for the teacher; broadcasts to ``(B, T, N, N)``.
        key_mask: Bool ``(B, N)``, true for keys that take part in both maps. A padded token still is a row: leave it
            out by giving the mask as ``row_weight`` too. An image without any key has weight zero.
        row_weight: Weights of the rows, ``(N,)``, ``(B, N)`` or ``(B, H, N)``, at least zero: of the class token's row,
            or of padding. Means are weighted means. No gradient.
        tokens_student: Which of the student's tokens take part, as rows and as keys: a slice, or int64 indices
            ``(N,)``. The softmax is over these alone. Use it where one model has tokens that the other lacks
            (registers, a distillation token): ``slice(1, None)`` leaves out the first. The student's bias is cut with
            it; mask and weights are those of the tokens that remain.
        tokens_teacher: The same for the teacher. Its first token chosen is compared with the student's first chosen.
        head_map: For each student head the teacher head that it learns: a number; a sequence of numbers, for the
            average of their maps; or None, which leaves the student head out. ``"none"`` then returns the heads kept.
        impl: ``"reference"`` runs anywhere, in memory that does not grow with ``N**2``. ``"sdpa"`` calls PyTorch's
            fused attention; it cannot take a ``bias_student``, nor give the KL divergence from an average of heads or
            from a map with a bias. ``"triton"`` needs a GPU, and no float64. ``"auto"`` takes the kernel on a GPU where
            it can; there, ``"sdpa"`` where that can; and everywhere else ``"reference"``: on a CPU it is the faster one
            where gradients are wanted (``benchmarks/attention_distillation.csv``); for the loss alone, from about a
            thousand tokens on, ``"sdpa"`` is. The order on a GPU is not measured yet. Asking for one by name never
            falls back.

    Returns:
        Nats, float32 whatever the inputs' precision is (float64 for float64): a scalar, or ``(B, H)``. Statistics and
        the difference of the maps are float32 too; autocast changes nothing inside. The loss of an empty batch is 0.

    Raises:
        TypeError: If an argument is of the wrong type or dtype.
        ValueError: If shapes or devices do not fit, an option is unknown, or ``impl`` cannot do what is asked.
        RuntimeError: If the loss is differentiated twice.

    Example:
        >>> q, k = torch.randn(2, 1, 3, 5, 8, generator=torch.Generator().manual_seed(0))
        >>> attention_distillation(q, k, q, k, divergence="kl").abs().item() < 1e-6
        True
        >>> attention_distillation(q, k, q, k, reduction="none").shape
        torch.Size([1, 3])
    """
    check_choice("divergence", divergence, get_args(Divergence))
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("impl", impl, get_args(Impl))
    for side, q, k in (("student", q_student, k_student), ("teacher", q_teacher, k_teacher)):
        arguments.check_side(side, q, k)
    student = _read_side("student", q_student, k_student, scale_student, bias_student, tokens_student)
    teacher = _read_side("teacher", q_teacher, k_teacher, scale_teacher, bias_teacher, tokens_teacher)
    arguments.check_sides(student.q, teacher.q)
    kept, teacher_heads = arguments.read_head_map(head_map, student.q.shape[1], teacher.q.shape[1])
    weight = arguments.full_row_weight(row_weight, student.q)
    if kept is not None:
        student, weight = _keep_heads(student, kept), weight if weight is None else weight[:, kept]
    mask, weight = arguments.usable_mask(key_mask, weight, student.q)
    inputs = DistillationInputs(student, _constant(teacher), teacher_heads, mask, weight, divergence == "kl")
    chosen = _choose_implementation(impl, inputs)
    if chosen == "sdpa":
        by_head = sdpa.attention_distillation(inputs)
    else:
        learned = (student.q, student.k, student.head_scale, student.bias)
        gradient = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in learned)
        by_head = ops.attention_distillation(inputs, chosen, gradient)
    return _reduce(by_head, weight, reduction, student.q.shape[2])


def _read_side(
    side: str, q: Tensor, k: Tensor, scale: float | Tensor | None, bias: Tensor | None, tokens: Tensor | slice | None
) -> Side:
    number, by_head = arguments.split_scale(f"scale_{side}", scale, q)
    full_bias = arguments.full_bias(f"bias_{side}", bias, q)
    q, k, full_bias = arguments.choose_tokens(side, tokens, q, k, full_bias)
    return Side(q, k, number, by_head, full_bias)


def _keep_heads(side: Side, heads: list[int]) -> Side:
    bias = side.bias if side.bias is None or side.bias.shape[1] == 1 else side.bias[:, heads]
    head_scale = None if side.head_scale is None else side.head_scale[heads]
    return Side(side.q[:, heads], side.k[:, heads], side.scale, head_scale, bias)


def _constant(side: Side) -> Side:
    head_scale, bias = (None if tensor is None else tensor.detach() for tensor in (side.head_scale, side.bias))
    return Side(side.q.detach(), side.k.detach(), side.scale, head_scale, bias)


def _choose_implementation(impl: Impl, inputs: DistillationInputs) -> Impl:
    device = inputs.student.q.device.type
    obstacle = {"sdpa": sdpa.unsupported, "triton": _triton_unsupported}
    if impl == "auto":
        preferred: tuple[Impl, ...] = ("triton", "sdpa") if device == "cuda" else ()
        return next((name for name in preferred if obstacle[name](inputs) is None), "reference")
    if impl in obstacle and (reason := obstacle[impl](inputs)):
        raise ValueError(f"impl={impl!r} cannot compute this: {reason}; impl='auto' chooses one that can")
    return impl


def _triton_unsupported(inputs: DistillationInputs) -> str | None:
    """Reason why the kernel does not support these inputs, or None if it does."""
    queries = inputs.student.q, inputs.teacher.q
    if missing := triton_missing(queries[0].device.type):
        return missing
    if unknown := [q.dtype for q in queries if q.dtype not in _TRITON_DTYPES]:
        return f"it takes float16, bfloat16 and float32, not {unknown[0]}"
    for q in queries:
        if q.shape[-1] * q.element_size() > _TRITON_ROW_BYTES:
            most = _TRITON_ROW_BYTES // q.element_size()
            return f"it takes heads of up to {most} dimensions in {q.dtype}, not {q.shape[-1]}"
    if (inputs.student.bias is not None or inputs.teacher.bias is not None) and queries[0].shape[2] ** 2 >= 2**31:
        return f"it takes biases of fewer than 2**31 numbers a head, not {queries[0].shape[2]} x {queries[0].shape[2]}"
    return None


def _reduce(by_head: Tensor, weight: Tensor | None, reduction: Reduction, tokens: int) -> Tensor:
    """Reduce each head's sum over rows ``(B, H)`` as requested."""
    if reduction == "sum":
        return by_head.sum()
    if weight is None:
        return by_head / tokens if reduction == "none" else by_head.sum() / max(1, by_head.numel() * tokens)
    total = weight.sum(-1, dtype=by_head.dtype)
    if reduction == "mean":
        by_head, total = by_head.sum(), total.sum()
    return by_head / torch.where(total == 0, 1, total)  # no weight, no loss
