"""Frames of a trained policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from vl_rl.common.rendering import ADVICE, choose_backend
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
    """Returns of the episodes, also of one that was not played to its end."""
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
        max_steps: Maximum number of steps of all episodes.
        seed: Seed of the episodes.
        deterministic: True for the most likely actions.
        device: Device of the networks.

    Raises:
        NoRenderingError: If the environment cannot render here.
        ValueError: If the model does not fit its settings.
        OSError: If it cannot be read.
    """
    backend = choose_backend()
    model, env = run.load(device=device, render_mode="rgb_array")
    frames: list[NDArray[np.uint8]] = []
    returns = [0.0]
    try:
        with isolated(seed):
            env.seed(seed)
            observations: Any = env.reset()
            state, start = None, np.ones(1, dtype=bool)
            frames.append(_image(env.render(), run.settings.env))
            for _ in range(max_steps):
                actions, state = model.predict(observations, state, start, deterministic=deterministic)
                observations, rewards, start, _ = env.step(actions)
                returns[-1] += float(rewards[0])
                if start[0]:
                    if len(returns) == episodes:
                        break
                    returns.append(0.0)
                frames.append(_image(env.render(), run.settings.env))
    # Drivers, window systems and optional packages fail with errors of their own.
    except Exception as error:
        if frames:
            raise
        if isinstance(error, DependencyNotInstalled):
            raise NoRenderingError(f"{run.settings.env} cannot be rendered: {error}") from error
        found = f"tried {backend}" if backend else "neither EGL nor OSMesa works"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NoRenderingError(f"{run.settings.env} cannot be rendered here ({found}: {reason}); {ADVICE}") from error
    finally:
        env.close()
    fps: Any = env.metadata.get("render_fps", 30)
    return Film(frames, returns, float(fps))


def _image(rendered: object, env: str) -> NDArray[np.uint8]:
    if not isinstance(rendered, np.ndarray):
        raise ValueError(f"render of {env} must give an image, got {type(rendered).__name__}")
    return rendered[..., :3].astype(np.uint8)
