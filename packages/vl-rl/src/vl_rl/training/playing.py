"""Frames of a trained policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from vl_rl.common.rendering import NO_BACKEND, choose_backend, explain_failure
from vl_rl.training.building import make_environments
from vl_rl.training.evaluation import isolated
from vl_rl.training.saved_runs import SavedRun


class NoRenderingError(OSError):
    """Nothing renders here; the message says how to get video."""


@dataclass(frozen=True)
class Film:
    """Frames of episodes of a policy."""

    frames: list[NDArray[np.uint8]]
    """Images ``(H, W, 3)``, one a step, beginning with the first observation."""
    returns: list[float]
    """Returns of the episodes, as far as they were played."""
    partial: list[bool]
    """True for each episode that was not played to its end."""
    fps: float
    """Frames per second of the environment."""


def film(
    run: SavedRun,
    *,
    episodes: int = 1,
    max_steps: int = 500,
    seed: int = 0,
    deterministic: bool = True,
    device: str = "cpu",
) -> Film:
    """Play a trained model and render every step.

    Args:
        run: A finished run.
        episodes: Number of episodes.
        max_steps: Maximum number of steps of each episode.
        seed: Seed of the episodes.
        deterministic: True for the most likely actions.
        device: Device of the networks.

    Raises:
        NoRenderingError: If the environment cannot render here.
        ValueError: If the model does not fit its settings.
        OSError: If it cannot be read.
    """
    name, backend = run.settings.env, choose_backend()
    env = _renderable(run, backend)
    returns: list[float] = []
    partial: list[bool] = []
    try:
        model, _ = run.load(env, device=device)
        with isolated(seed):
            try:
                env.seed(seed)
                observations: Any = env.reset()
                frames = [_image(env.render(), name)]
            # Drivers, window systems and optional packages fail with errors of their own.
            except Exception as error:
                raise _no_rendering(name, backend, error) from error
            for episode in range(episodes):
                if episode and partial[-1]:
                    observations = env.reset()
                    frames.append(_image(env.render(), name))
                returns.append(0.0)
                state, start = None, np.ones(1, dtype=bool)
                for _ in range(max_steps):
                    actions, state = model.predict(observations, state, start, deterministic=deterministic)
                    observations, rewards, start, _ = env.step(actions)
                    returns[-1] += float(rewards[0])
                    # After the end of an episode, this is the beginning of the next one.
                    if not start[0] or episode + 1 < episodes:
                        frames.append(_image(env.render(), name))
                    if start[0]:
                        break
                partial.append(not start[0])
    finally:
        env.close()
    fps: Any = env.metadata.get("render_fps", 30)
    return Film(frames, returns, partial, float(fps))


def _renderable(run: SavedRun, backend: str | None) -> VecEnv:
    """Make an environment of a run that renders images.

    Raises:
        NoRenderingError: If it cannot.
    """
    name = run.settings.env
    env = make_environments(run.settings, 1)
    modes = env.get_attr("metadata")[0].get("render_modes", [])
    is_mujoco = env.has_attr("mujoco_renderer")
    env.close()
    if "rgb_array" not in modes:
        raise NoRenderingError(f"{name} cannot be rendered: render_modes must have 'rgb_array', got {modes}")
    if is_mujoco and backend in (None, NO_BACKEND):
        # Its viewer would fail, and once more when it is deleted.
        raise _no_rendering(name, backend, RuntimeError("MuJoCo has nothing to render with"))
    try:
        return make_environments(run.settings, 1, render_mode="rgb_array")
    except Exception as error:
        raise _no_rendering(name, backend, error) from error


def _no_rendering(name: str, backend: str | None, error: Exception) -> NoRenderingError:
    if isinstance(error, DependencyNotInstalled | ModuleNotFoundError | TypeError):
        return NoRenderingError(f"{name} cannot be rendered: {' '.join(str(error).split())}")
    reason = " ".join(str(error).split()) or type(error).__name__
    return NoRenderingError(f"{name} cannot be rendered here {explain_failure(backend, reason)}")


def _image(rendered: object, env: str) -> NDArray[np.uint8]:
    if not isinstance(rendered, np.ndarray):
        raise ValueError(f"render of {env} must give an image, got {type(rendered).__name__}")
    return rendered[..., :3].astype(np.uint8)
