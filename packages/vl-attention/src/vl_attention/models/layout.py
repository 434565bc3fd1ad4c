"""Where a vision transformer keeps its attention, which tokens it has, and what it is built of.

timm's `VisionTransformer`, its kin (`Eva`, `Beit`, DeiT, relative positions) and the vision towers of transformers are
known by their structure, so that a new model of a known build needs nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from vl_attention.models.calling import is_of_transformers, vision_config

_TOKENS_OF_TRANSFORMERS = {
    "cls_token": "class",
    "class_embedding": "class",
    "distillation_token": "distillation",
    "register_tokens": "register",
}
"""Kinds of the tokens before the patches, by the last part of their parameters' names."""


@dataclass(frozen=True)
class ViTLayout:
    """What attention transfer must know of a model."""

    attentions: tuple[str, ...]
    """Names of the attention modules, first layer first."""
    prefix: tuple[str, ...]
    """Kinds of the tokens that stand before the patches, such as ``("class", "register 0", "register 1")``."""
    components: frozenset[str]
    """Parts that a plain ViT lacks, in words."""

    @property
    def depth(self) -> int:
        """How many layers of attention there are."""
        return len(self.attentions)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that hold the attentions: ``blocks.3`` of ``blocks.3.attn``."""
        return _block_names(self.attentions)

    @classmethod
    def of(cls, model: nn.Module) -> ViTLayout:
        """Find a model's layers of attention, its prefix tokens and its components.

        Args:
            model: A ViT of timm or transformers, or any module built like one: a list of blocks, each with one
                attention that has a projection ``qkv``, or ``q_proj``, ``k_proj`` and ``v_proj``.

        Raises:
            ValueError: If no layers of self-attention are found, or the model is a masked autoencoder of transformers.
        """
        if is_of_transformers(model) and vision_config(model).model_type == "vit_mae":
            raise ValueError(
                f"{type(model).__name__} hides and shuffles patches, so that its attention is of random places; load "
                "its encoder as a plain model, transformers.ViTModel.from_pretrained"
            )
        attentions = _attention_names(model)
        if not attentions:
            raise ValueError(
                f"{type(model).__name__} has no self-attention that could be transferred; give a vision transformer of "
                "timm (VisionTransformer, Eva, Beit, DeiT) or of transformers (ViT, DINOv2, CLIP's or SigLIP's vision "
                "model)"
            )
        return cls(attentions, _prefix_tokens(model), _components(model, attentions))


def _block_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(re.sub(r"(.*\.|^)(\d+)\..*", r"\1\2", name) for name in names)


def _attention_names(model: nn.Module) -> tuple[str, ...]:
    found = [name for name, module in model.named_modules() if _is_self_attention(name, module)]
    stacks = list(dict.fromkeys(re.sub(r"\.?\d+$", "", block) for block in _block_names(tuple(found))))
    if len(stacks) > 1 and len({re.split(r"\.\d+\.", stack)[0] for stack in stacks}) == 1:
        raise ValueError(
            f"{type(model).__name__} has stages, or blocks of several attentions each, such as {stacks[0]} and "
            f"{stacks[1]}; attention transfer is for models with one list of blocks and one attention in each"
        )
    if len(stacks) > 1:
        raise ValueError(
            f"{type(model).__name__} has several stacks of attention, {sorted(stacks)}; give the vision tower alone, "
            "such as model.vision_model"
        )
    return tuple(found)


def _is_self_attention(name: str, module: nn.Module) -> bool:
    """A module with projections to queries, keys and values, inside of a numbered block."""
    if not re.search(r"(^|\.)\d+\.", name) or "pool" in name:
        return False
    return hasattr(module, "qkv") or all(hasattr(module, f"{part}_proj") for part in "qkv")


def _prefix_tokens(model: nn.Module) -> tuple[str, ...]:
    """Class token, registers and others, in the order in which they stand."""
    if is_of_transformers(model):
        return _prefix_tokens_of_transformers(model)
    count = getattr(model, "num_prefix_tokens", 1 if getattr(model, "cls_token", None) is not None else 0)
    first = [kind for kind, token in (("class", "cls_token"), ("distillation", "dist_token"))
             if getattr(model, token, None) is not None]  # fmt: skip
    return tuple(first[:count]) + tuple(f"register {i}" for i in range(count - len(first)))


def _prefix_tokens_of_transformers(model: nn.Module) -> tuple[str, ...]:
    """By the tokens' parameters, since configurations name registers alone."""
    counts = {"class": 0, "distillation": 0, "register": 0}
    for name, parameter in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        # A pooling head may have a class token of its own, which no layer of attention sees.
        if leaf in _TOKENS_OF_TRANSFORMERS and "head" not in owner:
            counts[_TOKENS_OF_TRANSFORMERS[leaf]] = parameter.shape[-2] if parameter.ndim > 1 else 1
    first = ["class", *(f"class {i}" for i in range(1, counts["class"]))][: counts["class"]]
    second = ["distillation"][: counts["distillation"]]
    return (*first, *second, *(f"register {i}" for i in range(counts["register"])))


def _components(model: nn.Module, attentions: tuple[str, ...]) -> frozenset[str]:
    first = model.get_submodule(attentions[0])
    parameters = [name for name, _ in model.named_parameters()]
    kinds = {type(module).__name__.lower() for module in model.modules()}
    prefix = _prefix_tokens(model)

    def any_parameter(pattern: str) -> bool:
        return any(re.search(pattern, name) for name in parameters)

    def is_norm(*names: str) -> bool:
        """Whether the first attention has one of these, and it does something."""
        return any(not isinstance(getattr(first, name, nn.Identity()), nn.Identity) for name in names)

    present = {
        "a class token": "class" in prefix,
        "a distillation token": "distillation" in prefix,
        "register tokens": any(kind.startswith("register") for kind in prefix),
        "LayerScale": any("layerscale" in kind for kind in kinds) or any_parameter(r"gamma_?1$|lambda1$"),
        "normalized queries and keys": is_norm("q_norm", "k_norm"),
        "a norm after the softmax's output": is_norm("norm"),
        "gated attention": getattr(first, "gate", None) is not None,
        "rotary positions": getattr(model, "rope", None) is not None or any("rope" in kind for kind in kinds),
        "absolute positions": any_parameter(r"pos(ition)?_embed"),
        "relative-position biases": any_parameter(r"relative_position_bias|rel_pos"),
        "a gated MLP (SwiGLU)": any(re.search(r"swiglu|glumlp|gatedmlp", kind) for kind in kinds),
        "a norm before the first block": any_parameter(r"norm_pre|pre_layr?norm|pre_norm"),
        "RMS norms": any("rmsnorm" in kind for kind in kinds),
        "biases of queries and values": any_parameter(r"qkv\.bias|q_bias|q_proj\.bias"),
    }
    return frozenset(name for name, there in present.items() if there)
