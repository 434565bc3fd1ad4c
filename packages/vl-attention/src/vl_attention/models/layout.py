"""The layout of a vision transformer: its attention modules, prefix tokens and architectural components.

timm's `VisionTransformer`, its relatives (`Eva`, `Beit`, DeiT, relative positions) and the vision towers of
transformers are recognized by their structure, so a new model with a known structure needs no change here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from vl_attention.models.inference import is_transformers_model, vision_config

_TRANSFORMERS_TOKENS = {
    "cls_token": "class",
    "class_embedding": "class",
    "distillation_token": "distillation",
    "register_tokens": "register",
}
"""Kinds of prefix tokens, by the last part of their parameter names."""


_MARKS = ("num_prefix_tokens", "cls_token", "patch_embed")
"""Attributes of a ViT itself, which a module that wraps one does not have."""

_NOT_WHOLE_IMAGES = {
    "vit_mae": "hides and shuffles patches, so its attention is between random positions; load its encoder as a plain "
    "model, transformers.ViTModel.from_pretrained",
    "siglip2_vision_model": "takes packed patches with a mask and not images; load a SigLIP 2 checkpoint of fixed "
    "resolution as transformers.SiglipVisionModel, or as timm's model",
}
"""Why models of these types of transformers cannot be used, and what to load instead."""

_SUPPORTED = (
    "a model with a list of blocks, each with one attention module that has a projection qkv, or q_proj, k_proj and "
    "v_proj, such as timm's ViT, DeiT, EVA and BEiT, and transformers' ViT, DINOv2 and the vision models of CLIP and "
    "SigLIP"
)


@dataclass(frozen=True)
class ViTLayout:
    """The parts of a vision transformer that attention transfer uses."""

    attentions: tuple[str, ...]
    """Names of the attention modules, from the first layer to the last."""
    prefix: tuple[str, ...]
    """Kinds of the tokens before the patches, such as ``("class", "register 0", "register 1")``."""
    components: frozenset[str]
    """Names of the architectural components, such as ``"LayerScale"`` or ``"register tokens"``."""

    @property
    def depth(self) -> int:
        """Number of attention layers."""
        return len(self.attentions)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that contain the attention modules: ``blocks.3`` for ``blocks.3.attn``."""
        return _block_names(self.attentions)

    @classmethod
    def of(cls, model: nn.Module) -> ViTLayout:
        """Find the attention layers, prefix tokens and components of a model.

        Args:
            model: A timm or transformers ViT, or any module with the same structure: a list of blocks, each with one
                attention module that has a projection ``qkv``, or ``q_proj``, ``k_proj`` and ``v_proj``.

        Raises:
            ValueError: If no self-attention layers are found, or the model is one of transformers that does not take
                whole images: a masked autoencoder, or SigLIP 2 with variable resolution.
        """
        model_type = getattr(vision_config(model), "model_type", None) if is_transformers_model(model) else None
        if model_type in _NOT_WHOLE_IMAGES:
            raise ValueError(f"{type(model).__name__} {_NOT_WHOLE_IMAGES[model_type]}")
        attentions = _attention_names(model)
        if not attentions:
            raise ValueError(
                f"{type(model).__name__} has no self-attention that could be transferred: {_described_blocks(model)}; "
                f"pass {_SUPPORTED}"
            )
        return cls(attentions, _prefix_tokens(model), _components(model, attentions))


def inner_vit(model: nn.Module) -> nn.Module:
    """The ViT in a module of the user's own, such as its ``backbone``; a module that is one, or holds none, itself."""
    name = next((name for name, module in model.named_modules() if _is_self_attention(name, module)), "")
    owners = name.split(".")
    for depth in range(len(owners)):
        owner: Any = model.get_submodule(".".join(owners[:depth]))
        if is_transformers_model(owner) or any(getattr(owner, mark, None) is not None for mark in _MARKS):
            return cast(nn.Module, owner)
    return model


def _block_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(re.sub(r"(.*\.|^)(\d+)\..*", r"\1\2", name) for name in names)


def _attention_names(model: nn.Module) -> tuple[str, ...]:
    found = [name for name, module in model.named_modules() if _is_self_attention(name, module)]
    stacks = list(dict.fromkeys(re.sub(r"\.?\d+$", "", block) for block in _block_names(tuple(found))))
    if len(stacks) > 1 and len({re.split(r"\.\d+\.", stack)[0] for stack in stacks}) == 1:
        raise ValueError(
            f"{type(model).__name__} has stages, or blocks with several attention modules, such as {stacks[0]} and "
            f"{stacks[1]}; attention transfer needs one list of blocks with one attention module in each"
        )
    if len(stacks) > 1:
        raise ValueError(
            f"{type(model).__name__} has several stacks of attention, {sorted(stacks)}; {_one_stack(model, found)}"
        )
    return tuple(found)


def _one_stack(model: nn.Module, attentions: list[str]) -> str:
    """The remedy for a model with several stacks of attention, which are towers or stages."""
    tower = next((name for name in ("vision_model", "visual", "vision_tower") if hasattr(model, name)), None)
    if tower is not None:
        return f"pass the vision tower alone, such as model.{tower}"
    kinds = sorted({type(model.get_submodule(name)).__name__ for name in attentions})
    return (
        f"its stages, with {', '.join(kinds)}, cannot be transferred; attention transfer needs one list of blocks with "
        f"one attention module in each: pass {_SUPPORTED}"
    )


def _described_blocks(model: nn.Module) -> str:
    """The kinds of modules that repeat in numbered lists, which are not what is looked for."""
    kinds = dict.fromkeys(
        type(module).__name__
        for name, module in model.named_modules()
        if re.search(r"\.\d+$", name) and any(True for _ in module.children())
    )
    named = [kind for kind in kinds if kind not in ("Sequential", "ModuleList")][:4]
    return f"its blocks are {', '.join(named)}" if named else "it has no blocks"


def _is_self_attention(name: str, module: nn.Module) -> bool:
    """True for a module with query, key and value projections inside a numbered block."""
    if not re.search(r"(^|\.)\d+\.", name) or "pool" in name:
        return False
    return hasattr(module, "qkv") or all(hasattr(module, f"{part}_proj") for part in "qkv")


def _prefix_tokens(model: nn.Module) -> tuple[str, ...]:
    """Class token, registers and others, in order."""
    model = inner_vit(model)
    if is_transformers_model(model):
        return _transformers_prefix_tokens(model)
    count = getattr(model, "num_prefix_tokens", 1 if getattr(model, "cls_token", None) is not None else 0)
    first = [kind for kind, token in (("class", "cls_token"), ("distillation", "dist_token"))
             if getattr(model, token, None) is not None]  # fmt: skip
    return tuple(first[:count]) + tuple(f"register {i}" for i in range(count - len(first)))


def _transformers_prefix_tokens(model: nn.Module) -> tuple[str, ...]:
    """Prefix tokens from the parameters, since configurations mention registers only."""
    counts = {"class": 0, "distillation": 0, "register": 0}
    for name, parameter in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        # A pooling head may have its own class token, which no attention layer sees.
        if leaf in _TRANSFORMERS_TOKENS and "head" not in owner:
            counts[_TRANSFORMERS_TOKENS[leaf]] = parameter.shape[-2] if parameter.ndim > 1 else 1
    first = ["class", *(f"class {i}" for i in range(1, counts["class"]))][: counts["class"]]
    second = ["distillation"][: counts["distillation"]]
    return (*first, *second, *(f"register {i}" for i in range(counts["register"])))


def _components(model: nn.Module, attentions: tuple[str, ...]) -> frozenset[str]:
    first = model.get_submodule(attentions[0])
    parameters = [name for name, _ in model.named_parameters()]
    kinds = {type(module).__name__.lower() for module in model.modules()}
    prefix = _prefix_tokens(model)
    inner = inner_vit(model)

    def any_parameter(pattern: str) -> bool:
        return any(re.search(pattern, name) for name in parameters)

    def is_norm(*names: str) -> bool:
        """True if the first attention module has one of these, and it is not the identity."""
        return any(not isinstance(getattr(first, name, nn.Identity()), nn.Identity) for name in names)

    present = {
        "a class token": "class" in prefix,
        "a distillation token": "distillation" in prefix,
        "register tokens": any(kind.startswith("register") for kind in prefix),
        "LayerScale": any("layerscale" in kind for kind in kinds) or any_parameter(r"gamma_?1$|lambda1$"),
        "normalized queries and keys": is_norm("q_norm", "k_norm"),
        "a norm after the softmax's output": is_norm("norm"),
        "gated attention": getattr(first, "gate", None) is not None,
        "rotary positions": getattr(inner, "rope", None) is not None or any("rope" in kind for kind in kinds),
        "absolute positions": any_parameter(r"pos(ition)?_embed"),
        "relative-position biases": any_parameter(r"relative_position_bias|rel_pos"),
        "a gated MLP (SwiGLU)": any(re.search(r"swiglu|glumlp|gatedmlp", kind) for kind in kinds),
        "a norm before the first block": any_parameter(r"norm_pre|pre_layr?norm|pre_norm"),
        "RMS norms": any("rmsnorm" in kind for kind in kinds),
        "biases of queries and values": any_parameter(r"qkv\.bias|q_bias|q_proj\.bias"),
    }
    return frozenset(name for name, there in present.items() if there)
