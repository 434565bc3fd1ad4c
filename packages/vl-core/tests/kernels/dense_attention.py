"""The attention-distillation loss written out with whole maps, and a problem for each of its options.

It shares no code with `vl_core.kernels`: the tests hold every implementation to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Options = dict[str, Any]
Problem = tuple[list[Tensor], Options]

IMAGES, HEADS = 2, 3


def loss(
    q_student: Tensor,
    k_student: Tensor,
    q_teacher: Tensor,
    k_teacher: Tensor,
    *,
    divergence: str = "cross_entropy",
    reduction: str = "mean",
    scale_student: Any = None,
    scale_teacher: Any = None,
    bias_student: Tensor | None = None,
    bias_teacher: Tensor | None = None,
    key_mask: Tensor | None = None,
    row_weight: Tensor | None = None,
    tokens_student: Any = None,
    tokens_teacher: Any = None,
    head_map: Any = None,
) -> Tensor:
    """Whole maps, in the precision of the inputs; at least one key must be left in every image."""
    z_student = _logits(q_student, k_student, scale_student, bias_student, tokens_student)
    with torch.no_grad():
        z_teacher = _logits(q_teacher, k_teacher, scale_teacher, bias_teacher, tokens_teacher)
    if key_mask is not None:
        closed = ~key_mask[:, None, None, :]
        z_student, z_teacher = (z.masked_fill(closed, -1e4) for z in (z_student, z_teacher))
    taught, log_prob = torch.softmax(z_teacher, -1), torch.log_softmax(z_student, -1)
    weight = torch.ones(log_prob.shape[:3]) if row_weight is None else row_weight
    weight = (weight[:, None] if weight.ndim == 2 else weight).expand(log_prob.shape[:3]).to(log_prob.dtype)
    if head_map is not None:
        pairs = [(head, [entry] if isinstance(entry, int) else entry) for head, entry in enumerate(head_map)]
        pairs = [(head, entry) for head, entry in pairs if entry is not None]
        taught = torch.stack([taught[:, list(entry)].mean(1) for _, entry in pairs], 1)
        log_prob = torch.stack([log_prob[:, head] for head, _ in pairs], 1)
        weight = torch.stack([weight[:, head] for head, _ in pairs], 1)
    rows = -(taught * log_prob).sum(-1)
    if divergence == "kl":
        rows = rows + torch.xlogy(taught, taught).sum(-1)
    rows = rows * weight
    if reduction == "none":
        return rows.sum(-1) / weight.sum(-1)
    return rows.sum() if reduction == "sum" else rows.sum() / weight.sum()


def _logits(q: Tensor, k: Tensor, scale: Any, bias: Tensor | None, tokens: Any) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    z = q @ k.mT * (scale.view(-1, 1, 1) if isinstance(scale, Tensor) else scale)
    z = z if bias is None else z + bias
    return z if tokens is None else z[:, :, tokens][:, :, :, tokens]


def problem(option: str, tokens: int, dtype: torch.dtype, *, width: int = 8, device: str = "cpu") -> Problem:
    """The four tensors and the arguments that try an option; what the student learns requires a gradient."""
    generator = torch.Generator().manual_seed(tokens)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

    tensors = [normal(IMAGES, HEADS, tokens, width) for _ in range(4)]
    tensors, options = _OPTIONS[option](tensors, normal)
    for learned in (*tensors[:2], options.get("bias_student"), options.get("scale_student")):
        if isinstance(learned, Tensor):
            learned.requires_grad_()
    return tensors, options


def learned(tensors: list[Tensor], options: Options) -> list[Tensor]:
    """The tensors of a problem that receive a gradient."""
    return [t for t in (*tensors, *options.values()) if isinstance(t, Tensor) and t.requires_grad]


def double(tensors: list[Tensor], options: Options) -> Problem:
    """The same numbers in float64, with gradients of their own."""

    def copy(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            return value
        return value.detach().double().requires_grad_(value.requires_grad)

    return [copy(t) for t in tensors], {name: copy(value) for name, value in options.items()}


Make = Callable[..., Tensor]
_OPTIONS: dict[str, Callable[[list[Tensor], Make], Problem]] = {}


def _option(function: Callable[[list[Tensor], Make], Problem]) -> Callable[[list[Tensor], Make], Problem]:
    _OPTIONS[function.__name__.strip("_")] = function
    return function


@_option
def _plain(t: list[Tensor], normal: Make) -> Problem:
    return t, {}


@_option
def _kl(t: list[Tensor], normal: Make) -> Problem:
    return t, {"divergence": "kl"}


@_option
def _sum(t: list[Tensor], normal: Make) -> Problem:
    return t, {"reduction": "sum"}


@_option
def _by_head(t: list[Tensor], normal: Make) -> Problem:
    return t, {"reduction": "none"}


@_option
def _scales(t: list[Tensor], normal: Make) -> Problem:
    return t, {"scale_student": 0.7, "scale_teacher": -0.3, "divergence": "kl"}


@_option
def _learned_scale(t: list[Tensor], normal: Make) -> Problem:
    return t, {"scale_student": normal(), "scale_teacher": normal()}


@_option
def _learned_scale_by_head(t: list[Tensor], normal: Make) -> Problem:
    return t, {"scale_student": normal(HEADS), "scale_teacher": normal(HEADS), "divergence": "kl", "reduction": "none"}


@_option
def _narrow_teacher(t: list[Tensor], normal: Make) -> Problem:
    return [*t[:2], t[2][..., :5], t[3][..., :5]], {"divergence": "kl"}


@_option
def _wide_teacher(t: list[Tensor], normal: Make) -> Problem:
    return [*t[:2], *(torch.cat((x, x[..., :3] + 1), -1) for x in t[2:])], {}


@_option
def _bias(t: list[Tensor], normal: Make) -> Problem:
    tokens = t[0].shape[2]
    return t, {"bias_student": normal(HEADS, tokens, tokens), "bias_teacher": normal(tokens, tokens)}


@_option
def _bias_by_image(t: list[Tensor], normal: Make) -> Problem:
    tokens = t[0].shape[2]
    biases = {
        "bias_student": normal(IMAGES, 1, tokens, tokens),
        "bias_teacher": normal(IMAGES, HEADS, tokens, tokens),
    }
    return t, {**biases, "divergence": "kl", "reduction": "none"}


@_option
def _teacher_bias(t: list[Tensor], normal: Make) -> Problem:
    return t, {"bias_teacher": normal(HEADS, t[0].shape[2], t[0].shape[2])}


@_option
def _key_mask(t: list[Tensor], normal: Make) -> Problem:
    mask = normal(IMAGES, t[0].shape[2]) > 0
    mask[:, -1] = True  # the first keys of a row are often masked: tiles without any key come first
    mask[0, : t[0].shape[2] // 2] = mask[0, -1] & (t[0].shape[2] < 2)
    return t, {"key_mask": mask, "row_weight": mask, "divergence": "kl"}


@_option
def _row_weight(t: list[Tensor], normal: Make) -> Problem:
    return t, {"row_weight": normal(t[0].shape[2]).abs()}


@_option
def _row_weight_by_head(t: list[Tensor], normal: Make) -> Problem:
    return t, {"row_weight": normal(*t[0].shape[:3]).abs(), "reduction": "none", "divergence": "kl"}


@_option
def _tokens(t: list[Tensor], normal: Make) -> Problem:
    registers = normal(IMAGES, HEADS, 4, t[0].shape[-1])
    bias = normal(HEADS, t[0].shape[2] + 4, t[0].shape[2] + 4)
    student = [torch.cat((registers, x), 2) for x in t[:2]]
    order = torch.arange(t[0].shape[2], device=t[0].device).flip(0)
    return [*student, *t[2:]], {
        "tokens_student": slice(4, None),
        "tokens_teacher": order,
        "bias_teacher": bias[:, 4:, 4:],
    }


@_option
def _tokens_by_index(t: list[Tensor], normal: Make) -> Problem:
    tokens = t[0].shape[2]
    chosen = torch.arange(0, tokens, 2, device=t[0].device)
    return t, {"tokens_student": chosen, "tokens_teacher": chosen, "bias_student": normal(HEADS, tokens, tokens)}


@_option
def _head_order(t: list[Tensor], normal: Make) -> Problem:
    return t, {"head_map": [2, 0, 0], "divergence": "kl", "scale_teacher": normal(HEADS)}


@_option
def _head_subset(t: list[Tensor], normal: Make) -> Problem:
    options = {"head_map": [None, 2, 1], "scale_student": normal(HEADS), "row_weight": normal(*t[0].shape[:3]).abs()}
    return t, {**options, "bias_teacher": normal(HEADS, t[0].shape[2], t[0].shape[2])}


@_option
def _head_average(t: list[Tensor], normal: Make) -> Problem:
    return [*t[:2], *(torch.cat((x, x + 1), 1) for x in t[2:])], {"head_map": [[0, 1], [2, 3], (4, 5)]}


@_option
def _head_average_kl(t: list[Tensor], normal: Make) -> Problem:
    bias = normal(HEADS, t[0].shape[2], t[0].shape[2])
    options = {"head_map": [[0, 1], 2, [0, 1, 2]], "bias_teacher": bias, "scale_teacher": normal(HEADS)}
    return t, {**options, "divergence": "kl", "reduction": "none"}


@_option
def _strided(t: list[Tensor], normal: Make) -> Problem:
    # As a ViT lays them out: (images, tokens, queries and keys, heads, width), permuted.
    images, heads, tokens, width = t[0].shape
    qkv = [normal(images, tokens, 2, heads, width).permute(2, 0, 3, 1, 4) for _ in range(2)]
    return [*qkv[0].unbind(0), *qkv[1].unbind(0)], {}


NAMES = tuple(_OPTIONS)
SDPA_CANNOT = {"bias", "bias_by_image", "tokens_by_index", "head_average_kl"}
"""Options that do not fit into the form of an attention's output: asking for them is an error."""
