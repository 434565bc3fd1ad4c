"""The loss from two calls of PyTorch's fused attention: no custom kernel, no stored map.

With ``O_t = P_t k_s``, the attention of the teacher's map over the student's keys as values, a row's cross-entropy is
``logsumexp(z_s) - c_s q_s . O_t``. Its derivative is that of the surrogate::

    c_s [ q_s . sg(O_s) + sg(q_s) . O_s - q_s . O_t ],    O_s = attention(sg(q_s), sg(k_s), values k_s)

(``sg`` stops the gradient): the first two terms give the derivative of the log-sum-exp by ``q_s`` and by ``k_s``.

In half precision both outputs are rounded before they are subtracted, so gradients near convergence are less exact than
those of the other implementations, which subtract the maps in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_core.kernels.attention_distillation.inputs import DistillationInputs, Side

_ROWS = 128  # for which logits are held at a time, where the operator does not return their log-sum-exp


def unsupported(inputs: DistillationInputs) -> str | None:
    """Reason why this implementation does not support these inputs, or None if it does."""
    if inputs.student.bias is not None:
        return "a bias of the student does not fit into the form of an attention's output"
    if inputs.entropy and inputs.teacher.bias is not None:
        return "the entropy of a map with a bias does not follow from an attention's output"
    if inputs.entropy and inputs.group > 1:
        return "the entropy of an average of teacher heads does not follow from the heads' own"
    return None


def attention_distillation(inputs: DistillationInputs) -> Tensor:
    """Weighted sum over rows of the loss, ``(B, H)``; differentiable by the student's tensors."""
    with torch.autocast(inputs.student.q.device.type, enabled=False):
        row_loss = _row_loss(inputs)
        if inputs.row_weight is not None:
            row_loss = row_loss * inputs.row_weight.to(row_loss.dtype)
        return row_loss.sum(-1)


def _row_loss(inputs: DistillationInputs) -> Tensor:
    """Loss of each row, ``(B, H, N)``."""
    student, scale = inputs.student, inputs.student.scale
    dtype = torch.promote_types(student.q.dtype, inputs.teacher.q.dtype)
    exact = torch.promote_types(dtype, torch.float32)
    mask = _additive_mask(inputs.key_mask, None, dtype)
    q, k = _with_head_scale(student).to(dtype), student.k.to(dtype)
    own, own_lse = _attention(q.detach(), k.detach(), k, mask, scale)
    taught, entropy = torch.zeros_like(own, dtype=exact), torch.zeros_like(own_lse)
    for member in range(inputs.group):
        teacher, heads = inputs.teacher, inputs.heads_of_group(member)
        q_t, k_t = (
            tensor.to(dtype) if heads is None else tensor[:, heads].to(dtype)
            for tensor in (_with_head_scale(teacher), teacher.k)
        )
        bias = teacher.bias if teacher.bias is None or heads is None else _chosen_bias(teacher, heads)
        teacher_mask = _additive_mask(inputs.key_mask, bias, dtype)
        taught = taught + _attention(q_t, k_t, k, teacher_mask, teacher.scale)[0].to(exact) / inputs.group
        if inputs.entropy:
            expected_key, lse = _attention(q_t, k_t, k_t, teacher_mask, teacher.scale)
            entropy = lse - teacher.scale * (q_t.to(exact) * expected_key.to(exact)).sum(-1)
    q, own = q.to(exact), own.to(exact)
    surrogate = scale * (
        (q * own.detach()).sum(-1) + (q.detach() * (own - taught)).sum(-1) - (q * taught.detach()).sum(-1)
    )
    value = own_lse - scale * (q * taught).sum(-1) - entropy
    return value.detach() + (surrogate - surrogate.detach())


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """``softmax(scale q k^T + mask) v``, in the inputs' dtype, and the logits' log-sum-exp ``(B, H, N)``."""
    width = max(q.shape[-1], v.shape[-1])  # the operators want one head dimension; zeros change no logit
    q, k, padded = (F.pad(tensor, (0, width - tensor.shape[-1])) for tensor in (q, k, v))
    if q.numel() and q.device.type == "cpu":
        operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        output, lse = operator(q, k, padded, attn_mask=mask, scale=scale)
    elif q.numel() and q.device.type == "cuda" and mask is None and width % 8 == 0 and q.dtype != torch.float64:
        operator = torch.ops.aten._scaled_dot_product_efficient_attention
        output, lse, _, _ = operator(q, k, padded, None, True, scale=scale)
        lse = lse[..., : q.shape[2]]  # it is padded to a multiple of 32
    else:
        output = F.scaled_dot_product_attention(q, k, padded, mask, scale=scale)
        lse = _log_sum_exp(q, k, mask, scale)
    return output[..., : v.shape[-1]], lse


@torch.no_grad()
def _log_sum_exp(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The logits' log-sum-exp ``(B, H, N)``, some rows at a time."""
    exact = torch.promote_types(q.dtype, torch.float32)
    found = q.new_empty(q.shape[:3], dtype=exact)
    for start in range(0, q.shape[2], _ROWS):
        rows = slice(start, start + _ROWS)
        logits = (q[:, :, rows].to(exact) * scale) @ k.to(exact).mT
        if mask is not None:
            logits = logits + (mask if mask.shape[2] == 1 else mask[:, :, rows])
        found[:, :, rows] = torch.logsumexp(logits, -1)
    return found


def _with_head_scale(side: Side) -> Tensor:
    """Queries ``(B, H, N, d)`` times the per-head scales, in float32 if there are any."""
    return side.q if side.head_scale is None else side.q * side.head_scale[:, None, None]


def _chosen_bias(side: Side, heads: list[int]) -> Tensor:
    """Bias of the selected heads."""
    assert side.bias is not None
    return side.bias if side.bias.shape[1] == 1 else side.bias[:, heads]


def _additive_mask(key_mask: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Additive mask ``(B or 1, H or 1, N or 1, N)`` of the logits, or None."""
    if key_mask is None:
        return None if bias is None else bias.to(dtype)
    left_out = torch.zeros(key_mask.shape, dtype=dtype, device=key_mask.device).masked_fill(~key_mask, -torch.inf)
    return left_out[:, None, None, :] if bias is None else bias.to(dtype) + left_out[:, None, None, :]
