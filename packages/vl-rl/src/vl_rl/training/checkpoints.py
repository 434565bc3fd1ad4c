"""Everything that a run needs to resume exactly, in one file.

stable-baselines3 saves parameters, optimizers and counters. A resumed run also needs the replay buffer, the state of
every random generator, the unfinished episodes, running means of observations, and what was recorded for the log but
not written yet. The file is a pickle of the user's own run, so open only files that you trust.
"""

from __future__ import annotations

import io
import pickle
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
    unwrap_vec_wrapper,
)
from vl_core.runs import atomic_write

# What a logger holds until it is written.
_PENDING = ("name_to_value", "name_to_count", "name_to_excluded")


def save_checkpoint(path: Path, model: BaseAlgorithm, extra: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` in one step.

    Args:
        path: The file; its folder must exist.
        model: The algorithm, between an update and the next rollout.
        extra: What the caller keeps beside it; anything that can be pickled.
    """
    env, memory = _environment(model), io.BytesIO()
    model.save(memory)
    normalize, stack = unwrap_vec_normalize(env), unwrap_vec_wrapper(env, VecFrameStack)
    state = {
        "model": memory.getvalue(),
        "buffer": _buffer_state(getattr(model, "replay_buffer", None)),
        "environments": env.env_method("export_state"),
        "normalize": None if normalize is None else (normalize.__getstate__(), normalize.returns),
        "frames": None if stack is None else stack.stacked_obs,
        "log": {name: dict(getattr(model.logger, name)) for name in _PENDING},
        "random": _random_state(model),
        "extra": extra,
    }
    with atomic_write(path, "wb") as file:
        pickle.dump(state, file, protocol=5)


class Restored:
    """A checkpoint that was read: the model, and what has to be set once its training has begun."""

    def __init__(self, path: Path, kind: type[BaseAlgorithm], env: VecEnv, device: str) -> None:
        """Read a checkpoint, and bring a new environment into the state of the saved one.

        Args:
            path: A file that `save_checkpoint` wrote.
            kind: The class of the algorithm.
            env: The same environments, new.
            device: Device of the model.

        Raises:
            ValueError: If the file is damaged.
        """
        try:
            state = pickle.loads(path.read_bytes())
            saved = io.BytesIO(state["model"])
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path} is not a checkpoint of a run ({error}); remove it to start again") from error
        self._state = state
        if state["normalize"] is not None and (normalize := unwrap_vec_normalize(env)) is not None:
            self._restore_normalize(normalize)
        self.model = kind.load(saved, env=env, device=device, force_reset=False)
        # Learning begins by resetting it.
        self._noise = deepcopy(getattr(self.model, "action_noise", None))
        self.extra: dict[str, Any] = state["extra"]
        _restore_buffer(getattr(self.model, "replay_buffer", None), state["buffer"])
        self.is_exact = self._replay(env)

    def finish(self) -> None:
        """Set random generators, noise and pending log entries, which the beginning of training has touched."""
        if self._noise is not None:
            # The rollout holds the object already.
            vars(self.model.action_noise).update(vars(self._noise))
        logger = self.model.logger
        for name, saved in self._state["log"].items():
            pending = getattr(logger, name)
            pending.clear()
            pending.update(saved)
        _restore_random(self.model, self._state["random"])

    def _restore_normalize(self, normalize: VecNormalize) -> None:
        saved, returns = self._state["normalize"]
        for name, value in saved.items():
            setattr(normalize, name, value)
        normalize.returns = returns

    def _replay(self, env: VecEnv) -> bool:
        """Replay unfinished episodes; False, after a reset, if that leads elsewhere."""
        exact = True
        for index, state in enumerate(self._state["environments"]):
            exact &= _same(env.env_method("import_state", state, indices=[index])[0], state["observation"])
        if exact:
            if (stack := unwrap_vec_wrapper(env, VecFrameStack)) is not None:
                stack.stacked_obs = self._state["frames"]
            return True
        self.model._last_obs = None  # `learn` resets the environments
        buffer = getattr(self.model, "replay_buffer", None)
        if hasattr(buffer, "truncate_last_trajectory"):
            buffer.truncate_last_trajectory()  # type: ignore[union-attr]
        return False


def _environment(model: BaseAlgorithm) -> VecEnv:
    env = model.get_env()
    if env is None:
        raise ValueError("model must have an environment to be saved in mid-training, got none; call set_env first")
    return env


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, dict):
        return all(np.array_equal(one[key], other[key]) for key in other)
    return bool(np.array_equal(one, other))


def _random_state(model: BaseAlgorithm) -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002  # the one that stable-baselines3 draws from
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "actions": model.action_space.np_random.bit_generator.state,
    }


def _restore_random(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    model.action_space.np_random.bit_generator.state = state["actions"]


# ---- Replay buffer: only its filled part is written ----


def _buffer_state(buffer: Any) -> dict[str, Any] | None:
    if buffer is None:
        return None
    state = buffer.__getstate__() if hasattr(buffer, "set_env") else dict(buffer.__dict__)
    filled = buffer.buffer_size if buffer.full else buffer.pos
    return {name: _cut(value, buffer.buffer_size, filled) for name, value in state.items() if name != "device"}


def _cut(value: Any, size: int, filled: int) -> Any:
    if isinstance(value, dict):
        return {name: _cut(part, size, filled) for name, part in value.items()}
    # What lies beyond is zeros, unless an array of this length is something else.
    if isinstance(value, np.ndarray) and value.ndim and len(value) == size and not value[filled:].any():
        return value[:filled]
    return value


def _restore_buffer(buffer: Any, state: dict[str, Any] | None) -> None:
    for name, value in (state or {}).items():
        if value is not None:
            buffer.__dict__[name] = _filled(getattr(buffer, name, None), value)


def _filled(new: Any, saved: Any) -> Any:
    if isinstance(saved, dict) and isinstance(new, dict):
        return {name: _filled(new.get(name), part) for name, part in saved.items()}
    arrays = isinstance(saved, np.ndarray) and isinstance(new, np.ndarray)
    if arrays and saved.shape[1:] == new.shape[1:] and len(saved) < len(new):
        new[: len(saved)] = saved
        return new
    return saved
