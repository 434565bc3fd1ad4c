"""Python-like text of configuration files, read without evaluating it."""

from __future__ import annotations

import ast
import operator
from importlib import import_module
from typing import Any

_SHORT = {
    "nn": "torch.nn",
    "th": "torch",
    "optim": "torch.optim",
    "HerReplayBuffer": "stable_baselines3.HerReplayBuffer",
    "NatureCNN": "stable_baselines3.common.torch_layers.NatureCNN",
    "FlattenExtractor": "stable_baselines3.common.torch_layers.FlattenExtractor",
    "CombinedExtractor": "stable_baselines3.common.torch_layers.CombinedExtractor",
    "GeneralizedHindsightReplayBuffer": "vl_rl.GeneralizedHindsightReplayBuffer",
    "RMSpropTFLike": "stable_baselines3.common.sb2_compat.rmsprop_tf_like.RMSpropTFLike",
}
"""Meanings of names that files use without saying where they come from."""
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def parse_text(text: str) -> Any:
    """Value of a text made of literals, calls of ``dict``, arithmetic of numbers, and names of classes.

    Raises:
        ValueError: If there is anything else in it, such as a call of another function, or a name is unknown.

    Example:
        >>> parse_text("dict(log_std_init=-2, net_arch=[2 * 32, 64], activation_fn=nn.ReLU)")
        {'log_std_init': -2, 'net_arch': [64, 64], 'activation_fn': <class 'torch.nn.modules.activation.ReLU'>}
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"must be literals, dict(...) and names of classes, got {text!r}") from error
    return _value(tree)


def constant(text: str) -> Any:
    """A number, a boolean or None where a text is one, such as ``1e-3``, which YAML takes for text; else the text."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def find_name(name: Any) -> Any:
    """Import what a dotted name stands for, or a short one that files of rl-zoo3 use.

    Raises:
        ValueError: If it is no name, or there is nothing of that name.

    Example:
        >>> find_name("nn.Tanh")
        <class 'torch.nn.modules.activation.Tanh'>
    """
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"must be a dotted name, got {name!r}")
    first, dot, rest = name.partition(".")
    module, _, attribute = f"{_SHORT.get(first, first)}{dot}{rest}".rpartition(".")
    if not module:
        raise ValueError(f"must be a dotted name or one of {', '.join(_SHORT)}, got {name!r}")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(f"must name something that can be imported, got {name!r} (no module {error.name})") from error
    except AttributeError:
        raise ValueError(
            f"must name something that can be imported, got {name!r} ({module} has no {attribute})"
        ) from None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [_value(part) for part in node.elts]
        case ast.Tuple():
            return tuple(_value(part) for part in node.elts)
        case ast.Dict(keys=keys) if None not in keys:
            return {_value(k): _value(v) for k, v in zip(keys, node.values, strict=True)}  # type: ignore[arg-type]
        case ast.Call(func=ast.Name(id="dict"), args=[]) if all(word.arg for word in node.keywords):
            return {str(word.arg): _value(word.value) for word in node.keywords}
        case ast.UnaryOp(op=ast.USub()):
            return -_number(node.operand)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_number(node.left), _number(node.right))
        case ast.Name() | ast.Attribute():
            return find_name(ast.unparse(node))
    raise ValueError(f"must be literals, dict(...) and names of classes, got {ast.unparse(node)!r} in it")


def _number(node: ast.expr) -> Any:
    value = _value(node)
    if not isinstance(value, int | float):
        raise ValueError(f"must calculate with numbers only, got {ast.unparse(node)!r}")
    return value
