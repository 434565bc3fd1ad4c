"""Rates of dropout, stochastic depth and patch dropout, which belong to training rather than to the architecture."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

# Attention dropout in transformers, and DropPath and PatchDropout in both libraries.
_RATES = ("dropout_prob", "attention_dropout", "dropout", "drop_prob", "prob")


def dropout_rates(model: nn.Module) -> dict[str, float]:
    """All rates above zero, by names such as ``blocks.1.drop_path1.drop_prob``."""
    return {
        f"{module_name}.{name}": rate
        for module_name, module in model.named_modules()
        for name in _rate_names(module)
        if (rate := getattr(module, name))
    }


def patch_dropout(model: nn.Module) -> dict[str, float]:
    """Rates above zero at which a model leaves out patches in training, by module name, such as ``patch_drop``."""
    return {
        name: rate
        for name, module in model.named_modules()
        if "patchdrop" in type(module).__name__.lower() and (rate := float(getattr(module, "prob", 0.0)))
    }


def disable_dropout(model: nn.Module) -> None:
    """Set all dropout rates of a model to zero."""
    for module in model.modules():
        for name in _rate_names(module):
            setattr(module, name, 0.0)


def _rate_names(module: nn.Module) -> Iterator[str]:
    if isinstance(module, nn.Dropout):
        yield "p"
    yield from (name for name in _RATES if isinstance(getattr(module, name, None), float))
