"""One training run in a folder of its own; the same call resumes it exactly."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv
from vl_core.files import read_json
from vl_core.runs import RunFolder, atomic_write

from vl_rl.common.statistics import interquartile_mean
from vl_rl.training.building import build, callbacks, make_environments, make_evaluation_environments
from vl_rl.training.checkpoints import Restored, save_checkpoint
from vl_rl.training.evaluation import EVALUATION_SEED, evaluate
from vl_rl.training.saved_runs import save_normalization
from vl_rl.training.settings import RunSettings
from vl_rl.zoo.algorithms import check_algorithm

RESULT = "result.json"
"""File of a run that is complete, with what `train_run` returned."""

Progress = Callable[[int], object]
"""Called with the number of steps that were taken since the last call."""


def train_run(settings: RunSettings, folder: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Train, evaluate and save a model, or finish what an interrupted call began.

    ::

        config.json, metrics.jsonl, tensorboard/    see `vl_core.runs.RunFolder`
        checkpoint/last.pkl                         until the run is complete
        model.zip                                   for `load` of the algorithm
        result.json                                 what this function returns

    Args:
        settings: The run.
        folder: Its folder.
        progress: Told about steps as they are taken.

    Returns:
        The final returns by episode, the time in seconds, and the number of steps.

    Raises:
        ValueError: If a setting does not suit the environment, or the folder holds another run.
        FileExistsError: If the folder holds something else.
    """
    with RunFolder(folder, settings.config()) as run:
        if (folder / RESULT).exists():
            result = read_result(folder)
            (progress or _ignore)(settings.total_timesteps)
            return result
        env, eval_env = make_environments(settings), make_evaluation_environments(settings)
        try:
            result = _train(settings, run, env, eval_env, progress or _ignore)
        finally:
            env.close()
            eval_env.close()
        with atomic_write(folder / RESULT) as file:
            json.dump(result, file)
        (folder / "checkpoint" / "last.pkl").unlink(missing_ok=True)
        (folder / "checkpoint").rmdir()
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """Read what `train_run` returned for the run in a folder.

    Raises:
        ValueError: If the file is damaged.
        OSError: If it is missing.
    """
    result: dict[str, Any] = read_json(folder / RESULT, dict)
    return result


def _train(settings: RunSettings, run: RunFolder, env: VecEnv, eval_env: VecEnv, progress: Progress) -> dict[str, Any]:
    checkpoint = run.path / "checkpoint" / "last.pkl"
    checkpoint.parent.mkdir(exist_ok=True)
    restored = None
    if checkpoint.exists():
        restored = Restored(checkpoint, check_algorithm(settings.algo).load(), env, settings.device)
        model, done = restored.model, restored.extra
        if not restored.is_exact:
            print(
                f"{settings.env} cannot be restored in mid-episode; {run.path} resumes with a new episode",
                file=sys.stderr,
            )
    else:
        model, done = build(settings, env), {"evaluated": -1, "saved": 0, "seconds": 0.0}
    model.set_logger(Logger(None, [_RunWriter(run)]))
    progress(min(model.num_timesteps, settings.total_timesteps))
    callback = _RunCallback(settings, run, eval_env, checkpoint, progress, restored, done)
    rest = settings.total_timesteps - model.num_timesteps
    model.learn(rest, callback=[callback, *callbacks(model)], reset_num_timesteps=restored is None)
    returns = callback.evaluate()
    save_normalization(run.path / "normalization.npz", env)
    memory = BytesIO()
    model.save(memory)
    with atomic_write(run.path / "model.zip", "wb") as file:
        file.write(memory.getbuffer())
    return {"returns": returns, "seconds": callback.seconds(), "steps": model.num_timesteps}


class _RunCallback(BaseCallback):
    """Evaluate and save between an update and the next rollout, where the state is simple."""

    def __init__(
        self,
        settings: RunSettings,
        run: RunFolder,
        eval_env: VecEnv,
        checkpoint: Path,
        progress: Progress,
        restored: Restored | None,
        done: dict[str, Any],
    ) -> None:
        super().__init__()
        self._settings, self._run, self._eval_env, self._checkpoint = settings, run, eval_env, checkpoint
        self._progress, self._restored, self._done = progress, restored, dict(done)
        self._began, self._before = perf_counter(), float(done["seconds"])

    def seconds(self) -> float:
        """Time spent on the run, with that of interrupted calls up to their last checkpoint."""
        return self._before + perf_counter() - self._began

    def evaluate(self) -> list[float]:
        """Evaluate the policy, and log the result."""
        settings = self._settings
        seed = settings.seed + EVALUATION_SEED
        returns = evaluate(self.model, self._eval_env, settings.eval_episodes, seed=seed)
        both = {"eval/return": float(np.mean(returns)), "eval/iqm": interquartile_mean(returns)}
        self._run.log(self.model.num_timesteps, **both)
        return returns

    def _on_rollout_start(self) -> None:
        if self._restored is not None:
            self._restored.finish()
            self._restored = None
        steps, settings = self.model.num_timesteps, self._settings
        if steps // settings.eval_every > self._done["evaluated"]:
            self._done["evaluated"] = steps // settings.eval_every
            self.evaluate()
        if steps // settings.checkpoint_every > self._done["saved"]:
            self._done["saved"] = steps // settings.checkpoint_every
            save_checkpoint(self._checkpoint, self.model, self._done | {"seconds": self.seconds()})

    def _on_step(self) -> bool:
        # The last rollout may go beyond the end.
        beyond = max(0, self.model.num_timesteps - self._settings.total_timesteps)
        self._progress(max(0, self.training_env.num_envs - beyond))
        return True


class _RunWriter(KVWriter):
    """Write what an algorithm logs into the metrics of its run; times differ from call to call and stay out."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row."""
        numbers = {
            name: float(value)
            for name, value in key_values.items()
            if isinstance(value, int | float | np.number) and not name.startswith("time/")
        }
        if numbers:
            self._run.log(step, **numbers)

    def close(self) -> None:
        """The run's folder is closed by its owner."""


def _ignore(steps: int) -> None:
    """Nobody wants to know."""
