"""A checkpoint in one safetensors file: tensors in its body, step and state as JSON in its header.

With both in one file there is no moment at which new tensors stand beside an old state, and nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from vl_core._atomic import replacing
from vl_core.files import parse_json
from vl_core.runs._plain import plain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to resume a run."""

    step: int
    """The first step that is still to be done."""
    tensors: dict[str, Tensor]
    """Tensors by name, on the CPU."""
    state: dict[str, Any]
    """Everything else, as JSON keeps it: tuples come back as lists."""


def save(path: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at ``path`` atomically.

    Raises:
        TypeError: If a tensor is none, a name is no string, or the state is not for JSON.
    """
    from safetensors.torch import save_file
    from torch import Tensor

    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"tensors must map strings to tensors, got {name!r}: {type(tensor).__name__}")
    # One entry, since safetensors writes several in no fixed order and equal checkpoints should be equal files.
    header = {"run": json.dumps({"step": step, "state": plain(state, "state")})}
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        save_file(_separate(tensors), temporary, metadata=header)


def load(path: Path) -> Checkpoint | None:
    """Load the checkpoint at ``path``; None if there is none.

    Raises:
        ValueError: If the file is not a checkpoint written by ``save``.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = parse_json((file.metadata() or {})["run"], "header")
            # Cloned, since a tensor that maps the file would keep Windows from replacing it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a mapping
        step, state = header["step"], header["state"]
        if not isinstance(step, int) or step < 0 or not isinstance(state, dict):
            raise ValueError("step must be a number from 0, and state an object")
        return Checkpoint(step, tensors, state)
    # PyTorch has no name for some of the types of the format.
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint of a run ({error}); remove it to start again") from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error}") from error


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses names that share memory, as tied weights do; each name gets its own copy in the file.
    separate: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        memory = own.untyped_storage().data_ptr()
        separate[name] = own.clone() if memory in seen else own
        seen.add(memory)
    return separate
