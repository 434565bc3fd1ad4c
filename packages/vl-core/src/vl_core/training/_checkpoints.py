"""Parts of a run's checkpoint: weights, optimizer and EMA, and the state of objects beside them.

Tensors go into the body of the file and the rest into its header, as JSON keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vl_core.runs import Checkpoint
from vl_core.training._ema import WeightEMA

_TENSOR = "tensor of the checkpoint"  # stands in the header for a tensor of the body


class Stateful(Protocol):
    """An object whose state belongs to checkpoints, such as a schedule, a meter or an alarm.

    A state dict maps strings to tensors, to what JSON can keep (numbers, strings, lists; tuples come back as lists), or
    to mappings of these. Tensors come back on the CPU.
    """

    def state_dict(self) -> Mapping[str, Any]:
        """Everything that the object needs to go on."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take over such a state."""
        ...


def checkpoint_parts(
    trained: nn.Module, optimizer: torch.optim.Optimizer, ema: WeightEMA | None, state: Mapping[str, Stateful]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and header; the optimizer's state by names, since its own numbers do not say whose it is."""
    names = _names(trained)
    tensors = {f"trained.{name}": value for name, value in trained.state_dict().items()}
    for parameter, moments in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    if ema is not None:
        tensors |= {f"ema.{name}": value for name, value in ema.tensors.items()}
    header = {name: _without_tensors(kept.state_dict(), f"state.{name}", tensors) for name, kept in state.items()}
    return tensors, header


def restore(
    checkpoint: Checkpoint | None,
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: WeightEMA | None,
    state: Mapping[str, Stateful],
) -> int:
    """Put a checkpoint into place; return the first update to do.

    Raises:
        ValueError: If the checkpoint holds the state of other objects.
    """
    if checkpoint is None:
        return 0
    if checkpoint.state.keys() != state.keys():
        raise ValueError(
            f"state must name {sorted(checkpoint.state)} as the checkpoint of the run does, got {sorted(state)}; "
            "resume with the same objects, or choose another folder"
        )
    parts: dict[str, dict[str, Tensor]] = {"trained": {}, "optimizer": {}, "ema": {}, "state": {}}
    for name, tensor in checkpoint.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    trained.load_state_dict(parts["trained"])
    names = _names(trained)
    order = {
        names[parameter]: index
        for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"])
    }
    states: dict[int, dict[str, Tensor]] = {}
    for rest, tensor in parts["optimizer"].items():
        name, _, key = rest.rpartition(".")
        states.setdefault(order[name], {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    if ema is not None:
        for name, tensor in parts["ema"].items():
            ema.tensors[name].copy_(tensor)
    for name, kept in state.items():
        kept.load_state_dict(_with_tensors(checkpoint.state[name], checkpoint.tensors))
    return checkpoint.step


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a state into ``tensors``, and return the rest."""
    if isinstance(value, Tensor):
        # The state goes on changing; what is saved is written at once, so no copy is needed.
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {key: _without_tensors(part, f"{name}.{key}", tensors) for key, part in value.items()}
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _with_tensors(part, tensors) for key, part in value.items()}
    return value


def _names(trained: nn.Module) -> Mapping[Tensor, str]:
    return {parameter: name for name, parameter in trained.named_parameters()}
