"""Configurations of networks, held to what the weights beside them could fill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vl_core.files._content import one_line

_LEAST_LIMIT = 100_000
_BUFFER_VALUES = 2**24
_BYTES_A_TENSOR = 20


def check_sizes(config: Any, path: Path) -> None:
    """Refuse a configuration with a number that the weights beside it cannot go with, before a network is built.

    A damaged or hostile file may ask for a billion layers. No dimension of a network is larger than its weights have
    bytes, or a hundred thousand where they are few. Fractions are no sizes.

    Args:
        config: The content of the configuration.
        path: Its file; the weights are the safetensors files beside it.

    Raises:
        ValueError: If a number is larger; the message names it.
    """
    limit = max(_bytes_of_weights(path.parent), _LEAST_LIMIT)
    todo: list[tuple[str, Any]] = [("", config)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += [(str(key), item) for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(name, item) for item in value]
        elif isinstance(value, int) and abs(value) > limit:
            raise ValueError(
                f"{path} has {name} = {str(value)[:40]}, more than the weights beside it could fill; "
                "use files of one training run"
            )


@contextmanager
def limit_network(folder: Path) -> Iterator[None]:
    """Refuse to build a network with more parameters than the safetensors files in and below a folder could fill.

    A parameter is counted when it is registered, before it is initialized, so that its memory is reserved at most.
    Networks that other threads build in the meantime are counted too.

    Raises:
        ValueError: If there are more, or more tensors.
    """
    from torch.nn.modules import module

    size = _bytes_of_weights(folder)
    left = {"values": size + _BUFFER_VALUES, "tensors": size // _BYTES_A_TENSOR + 64}

    def count(_module: Any, _name: str, tensor: Any) -> None:
        if tensor is not None:
            left["values"] -= tensor.numel()
            left["tensors"] -= 1
        if min(left.values()) < 0:
            raise ValueError(
                f"{folder} describes a network that its weights cannot fill; use files of one training run"
            )

    hooks = (
        module.register_module_parameter_registration_hook(count),
        module.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    except RuntimeError as error:
        # One tensor alone may be more than the machine has.
        if "allocate" not in str(error):
            raise
        raise ValueError(f"{folder} describes a network that its weights cannot fill: {one_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()


def _bytes_of_weights(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
