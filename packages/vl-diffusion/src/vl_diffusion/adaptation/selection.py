"""Select the parameters of a model that are adapted, by walking its parameters rather than its modules.

A walk over modules without children misses parameters that belong to a module with children: the class token, position
embedding and attention projections of a ViT (a quarter of it), or the layer scales of a ConvNeXt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

Part = Literal["all", "norm", "last", "all_but_last", "leaves_but_last", "lora"]
"""Every parameter; scales and shifts of normalization layers; the last layer; all others; all others of modules without
children, as in the published runs of Diffusion-TTA; low-rank corrections of matrices."""

Weights = dict[str, Tensor]
"""Tensors by the names that `nn.Module.named_parameters` gives them."""


@dataclass(frozen=True)
class LoRA:
    """Adapt a low-rank correction of each weight matrix or kernel, ``W + (alpha / rank) B A`` (Hu et al., 2022)."""

    rank: int = 4
    """Rank of the correction."""

    alpha: float = 4.0
    """Scale of the correction, times the rank."""

    pattern: str = "*"
    """Shell pattern of the weights' names, such as ``"*attn*"``."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")


def select_parameters(model: nn.Module, adapt: str | LoRA) -> dict[str, nn.Parameter]:
    """The parameters that `adapt` names, in the order of the model.

    Args:
        model: Any module.
        adapt: ``"all"``, whether or not they require a gradient; ``"norm"``, by the names of modules' classes;
            ``"last"``, the parameters of the module that was registered last; ``"all_but_last"``, all others;
            ``"leaves_but_last"``, those of them that belong to a module without children, which are what the published
            runs of Diffusion-TTA adapt; ``"lora"``, a :class:`LoRA`, or a shell pattern of parameter names, such as
            ``"blocks.11.*"``.

    Raises:
        ValueError: If no parameter fits; the error names some of the model's.
    """
    own = {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    if adapt == "all":
        found = set(own)
    elif adapt == "norm":
        found = {name for name in own if _is_norm(model.get_submodule(_module_of(name)))}
    elif adapt in ("last", "all_but_last", "leaves_but_last"):
        last = {name for name in own if _module_of(name) == _module_of(list(own)[-1])}
        found = last if adapt == "last" else own.keys() - last
        if adapt == "leaves_but_last":
            found = {name for name in found if not any(True for _ in model.get_submodule(_module_of(name)).children())}
    elif adapt == "lora" or isinstance(adapt, LoRA):
        pattern = adapt.pattern if isinstance(adapt, LoRA) else "*"
        found = {name for name, weight in own.items() if weight.ndim > 1 and fnmatchcase(name, pattern)}
    else:
        found = {name for name in own if fnmatchcase(name, adapt)}
    if not found:
        some = ", ".join(list(own)[:3]) or "none"
        raise ValueError(f"adapt={adapt!r} selects no parameter of this {type(model).__name__}, which has {some} ...")
    return {name: parameter for name, parameter in own.items() if name in found}


class ParameterSelection:
    """Tensors to optimize for a model, and the model's weights as a function of them.

    Args:
        model: Its parameters are read and never written.
        adapt: See :func:`select_parameters`.
        seed: Seed of the first factors of low-rank corrections.
    """

    def __init__(self, model: nn.Module, adapt: str | LoRA, seed: int = 0) -> None:
        self.names = tuple(select_parameters(model, adapt))
        self._model, self._seed = model, seed
        self._lora = LoRA() if adapt == "lora" else adapt if isinstance(adapt, LoRA) else None

    @torch.no_grad()
    def start(self) -> Weights:
        """Initial tensors to optimize: copies of the parameters, or factors of a correction that is zero."""
        source = dict(self._model.named_parameters())
        if self._lora is None:
            return {name: _wide(source[name].detach()).clone().requires_grad_() for name in self.names}
        generator = torch.Generator().manual_seed(self._seed)
        factors: Weights = {}
        for name in self.names:
            weight = source[name]
            rows, columns = weight.shape[0], weight[0].numel()
            down = torch.randn(self._lora.rank, columns, generator=generator) / columns**0.5
            factors[f"{name}/down"] = down.to(_wide(weight))
            factors[f"{name}/up"] = _wide(weight.new_zeros(rows, self._lora.rank))
        return {name: factor.requires_grad_() for name, factor in factors.items()}

    def weights(self, adapted: Mapping[str, Tensor]) -> Weights:
        """All of the model's parameters by name, the selected ones as a function of `adapted`.

        They have the model's device and floating-point type of this moment, whatever those were at the beginning.
        """
        weights = {name: parameter.detach() for name, parameter in self._model.named_parameters()}
        if self._lora is None:
            return weights | {name: value.to(weights[name]) for name, value in adapted.items()}
        scale = self._lora.alpha / self._lora.rank
        for name in self.names:
            correction = adapted[f"{name}/up"] @ adapted[f"{name}/down"]
            weights[name] = weights[name] + (scale * correction).to(weights[name]).view_as(weights[name])
        return weights


def _module_of(name: str) -> str:
    """Name of the module that holds a parameter."""
    return name.rpartition(".")[0]


def _wide(weight: Tensor) -> Tensor:
    """Convert to float32 at least, as an optimizer's steps are lost in half precision."""
    return weight.float() if weight.dtype.itemsize < 4 else weight


def _is_norm(module: nn.Module) -> bool:
    """True if a module normalizes, by its class's name, as timm, torchvision and transformers have their own."""
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        return False
    return any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
