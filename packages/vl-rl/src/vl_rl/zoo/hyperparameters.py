"""Hyper-parameters as rl-zoo3 writes them: read from YAML, checked, and turned into arguments.

Nothing in a file is evaluated: text such as ``dict(net_arch=[64], activation_fn=nn.ReLU)`` is parsed by
`vl_rl.zoo.literals`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vl_rl.zoo.literals import constant, find_name, parse_text

_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "actor_lr", "critic_lr", "alpha_lr", "fourier_lr")
_CLASSES = ("replay_buffer_class", "rollout_buffer_class")
_WHOLE = ("n_timesteps", "n_envs", "frame_stack")
_RUN_KEYS = (*_WHOLE, "normalize", "env_wrapper", "env_kwargs", "noise_type", "noise_std")
# Arguments that the run sets.
_OWN = ("env", "seed", "device", "verbose", "tensorboard_log", "action_noise", "_init_setup_model", "self")


@dataclass(frozen=True)
class Hyperparameters:
    """Checked hyper-parameters of a run, with every name resolved."""

    arguments: dict[str, Any]
    """Arguments of the algorithm, apart from environment, seed and device; ``policy`` may be missing."""
    n_envs: int = 1
    """Number of environments that take steps together."""
    normalize: dict[str, Any] | None = None
    """Arguments of `VecNormalize`, the algorithm's discount among them; None for none."""
    frame_stack: int = 1
    """Number of last observations that a policy sees."""
    wrappers: Sequence[Any] = ()
    """Wrappers of each environment, the innermost first."""
    env_options: dict[str, Any] = field(default_factory=dict)
    """Arguments of each environment."""
    noise: tuple[str, float] | None = None
    """Kind and standard deviation of the noise on actions."""


def read_zoo_file(path: Path, env: str) -> dict[str, Any]:
    """Entry of an environment in a file of rl-zoo3, such as ``hyperparams/sac.yml``; else the file's ``default``.

    Args:
        path: A YAML file: a mapping from ids of environments to hyper-parameters.
        env: Id of the environment.

    Returns:
        The hyper-parameters as they stand in the file.

    Raises:
        ModuleNotFoundError: If PyYAML is not installed; the message names the extra.
        ValueError: If the file is not YAML of that form, or has no entry for the environment.
        OSError: If it cannot be read.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "yaml is not installed; it comes with `pip install 'vl-rl[zoo]'`", name="yaml"
        ) from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must map ids of environments to hyper-parameters, got {type(content).__name__}")
    entry = content.get(env, content.get("default"))
    if not isinstance(entry, dict):
        raise ValueError(
            f"{path} has no entry for {env}, and no default; it has {', '.join(map(str, content)) or 'nothing'}"
        )
    return dict(entry)


def resolve(raw: Mapping[str, Any], algorithm: type, source: str) -> Hyperparameters:
    """Check hyper-parameters for an algorithm, and turn text into what it stands for.

    Args:
        raw: Hyper-parameters as in a file of rl-zoo3.
        algorithm: Class of the algorithm, whose arguments they must be.
        source: Where they come from, for errors.

    Raises:
        ValueError: If a key is unknown, or its value is not what it must be; the message names source and key.

    Example:
        >>> from stable_baselines3 import SAC
        >>> resolve({"learning_rate": "1e-3", "policy_kwargs": "dict(net_arch=[64])"}, SAC, "sac.yml").arguments
        {'learning_rate': 0.001, 'policy_kwargs': {'net_arch': [64]}}
    """
    known: dict[str, Any] = {}
    for one in reversed(algorithm.__mro__):
        if "__init__" in vars(one):
            known |= _parameters(one)
    arguments: dict[str, Any] = {}
    run: dict[str, Any] = {}
    for key, value in raw.items():
        try:
            if key in _RUN_KEYS:
                run[key] = _run_value(key, value)
            elif key in known and key not in _OWN:
                arguments[key] = _whole(_argument(key, value, algorithm), known[key])
            else:
                close = difflib.get_close_matches(str(key), [*known, *_RUN_KEYS], n=1)
                advice = f"did you mean {close[0]}?" if close else "remove it"
                raise ValueError(f"is no hyper-parameter of {algorithm.__name__} that is read here; {advice}")
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: {key} {error}") from error
    noise, normalize = run.get("noise_type"), run.get("normalize")
    if normalize is not None and "gamma" in arguments:
        normalize = {"gamma": arguments["gamma"], **normalize}
    return Hyperparameters(
        arguments,
        n_envs=run.get("n_envs", 1),
        normalize=normalize,
        frame_stack=run.get("frame_stack", 1),
        wrappers=run.get("env_wrapper", ()),
        env_options=run.get("env_kwargs", {}),
        noise=None if noise is None else (noise, float(run.get("noise_std", 0.1))),
    )


def _parameters(kind: type) -> dict[str, Any]:
    """Arguments of a class with their defaults."""
    found = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return {name: parameter.default for name, parameter in found.items()}


def _whole(value: Any, default: Any) -> Any:
    """A value as a whole number where the default is one: YAML has 1e6 for a million."""
    if not isinstance(value, float) or not isinstance(default, int) or isinstance(default, bool):
        return value
    if not value.is_integer():
        raise ValueError(f"must be a whole number, got {value!r}")
    return int(value)


def _argument(key: str, value: Any, algorithm: type) -> Any:
    if key == "policy":
        aliases = getattr(algorithm, "policy_aliases", {})
        if isinstance(value, str) and "." in value:
            return find_name(value)
        if value not in aliases:
            raise ValueError(f"must be one of {', '.join(aliases)} or a dotted name, got {value!r}")
        return value
    if key in _SCHEDULES:
        return _schedule(value)
    if key in _CLASSES:
        return find_name(value)
    if key == "train_freq" and isinstance(value, list):
        return tuple(value)
    if isinstance(value, Mapping):
        return {name: _nested(name, part) for name, part in value.items()}
    if isinstance(value, str):
        return parse_text(value) if key.endswith("_kwargs") else constant(value)
    return deepcopy(value)


def _nested(key: str, value: Any) -> Any:
    """A value in a mapping; classes are named by text."""
    if isinstance(value, str) and (key.endswith(("_class", "_fn")) or "." in value):
        try:
            return find_name(value)
        except ValueError as error:
            raise ValueError(f"has a wrong {key}: {error}") from error
    if isinstance(value, Mapping):
        return {name: _nested(name, part) for name, part in value.items()}
    return deepcopy(value)


def _schedule(value: Any) -> Any:
    """A number, or a linear schedule from it to zero for ``lin_3e-4``."""
    if isinstance(value, str) and value.startswith("lin_"):
        from stable_baselines3.common.utils import LinearSchedule

        return LinearSchedule(_rate(value.removeprefix("lin_")), 0.0, 1.0)
    return value if value is None else _rate(value)


def _rate(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError(f"must not be negative, got {value!r}")
    return number


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be a number or lin_ and a number, got {value!r}") from None


def _run_value(key: str, value: Any) -> Any:
    if key in (*_WHOLE, "noise_std"):
        number = _number(value)
        if key != "noise_std" and (number < 1 or number != int(number)):
            raise ValueError(f"must be a whole number from 1, got {value!r}")
        return number if key == "noise_std" else int(number)
    if key == "noise_type":
        if value not in ("normal", "ornstein-uhlenbeck"):
            raise ValueError(f"must be normal or ornstein-uhlenbeck, got {value!r}")
        return value
    if key == "env_wrapper":
        return [_wrapper(one) for one in (value if isinstance(value, list) else [value]) if one is not None]
    given = parse_text(value) if isinstance(value, str) else value
    if key == "normalize":
        if isinstance(given, bool):
            return {} if given else None
        if not isinstance(given, dict):
            raise ValueError(f"must be true, false or arguments of VecNormalize, got {value!r}")
        from stable_baselines3.common.vec_env import VecNormalize

        known = [name for name in _parameters(VecNormalize) if name not in ("self", "venv")]
        if unknown := given.keys() - known:
            raise ValueError(f"has no argument {min(unknown)}; those of VecNormalize are {', '.join(known)}")
    if not isinstance(given, dict):
        raise ValueError(f"must be a mapping, got {value!r}")
    return given


def _wrapper(entry: Any) -> Any:
    """A wrapper: a dotted name, or a mapping from one to arguments."""
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        kind = find_name(name)
        return lambda env: kind(env, **options)
    return find_name(entry)
