"""`vl-rl train`: train algorithms side by side."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from vl_core.cli import note_on_interruption
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import write_rows

from vl_rl.charts.learning_curves import draw_learning_curves
from vl_rl.commands._tables import curves_table, file_name
from vl_rl.commands.settings.train import Train
from vl_rl.common.video import write_video
from vl_rl.training.building import check_run
from vl_rl.training.comparison import learning_curves, train_runs, write_curves
from vl_rl.training.environments import make_environment
from vl_rl.training.playing import NoRenderingError, film
from vl_rl.training.run import RESULT, read_result
from vl_rl.training.saved_runs import SavedRun, by_method, find_runs
from vl_rl.training.settings import RunSettings
from vl_rl.zoo.algorithms import default_algorithms
from vl_rl.zoo.hyperparameters import read_zoo_file
from vl_rl.zoo.presets import preset, timesteps

_RESUME = "rerun to resume from the last checkpoint"


def run(settings: Train) -> None:
    """Run what `settings.out` does not contain yet, and write the tables and the chart.

    Raises:
        ValueError: If an argument is invalid, or the folder holds runs of other settings.
        OSError: If a file is missing or cannot be read.
        ModuleNotFoundError: If the environment or the file needs a package that is not installed.
    """
    settings.check()
    runs = _runs(settings)
    for one in {one.label: one for one in runs}.values():
        # Find what does not fit together before anything is trained.
        check_run(one)
    steps = sum(one.total_timesteps for one in runs)
    with note_on_interruption(_RESUME), progress_bar(total=steps, unit="steps") as bar:

        def begin(one: RunSettings) -> None:
            bar.set_description_str(f"{one.label}, seed {one.seed}")

        trained = train_runs(runs, settings.out, begin=begin, progress=bar.update)
    finished = [*trained, *_others(trained, settings)]
    curves = learning_curves(finished)
    write_curves(settings.out / "curves.csv", curves, "return")
    write_rows(settings.out / "runs.csv", [_row(run) for run in finished])
    draw_learning_curves(settings.out / "curves.png", curves, title=settings.env)
    print(curves_table(curves))
    videos = _videos(trained, settings) if settings.video else []
    print(f"wrote {', '.join(['curves.csv, curves.png, runs.csv', *videos])} and runs/ to {settings.out}")


def _runs(settings: Train) -> list[RunSettings]:
    """The runs, seed by seed, so that an interrupted comparison is balanced."""
    device = find_device(settings.device)
    chosen: dict[str, dict[str, Any]] = {}
    for algo in dict.fromkeys(settings.algo or _default_algorithms(settings)):
        path = settings.zoo_file(algo)
        raw = dict(preset(settings.env, algo)) if path is None else read_zoo_file(path, settings.env)
        steps = settings.total_timesteps or timesteps(raw, settings.env)
        chosen[algo] = {
            "hyperparameters": {name: value for name, value in raw.items() if name != "n_timesteps"},
            "source": f"hyper-parameters of {algo}" if path is None else str(path),
            "total_timesteps": steps,
            "eval_every": settings.eval_every or max(1, steps // 12),
            "checkpoint_every": settings.checkpoint_every or min(max(1, steps // 12), 5000),
        }
    return [
        RunSettings(
            algo=algo,
            env=settings.env,
            seed=seed,
            eval_episodes=settings.eval_episodes,
            device=device,
            relabel=relabel,
            **own,
        )
        for seed in dict.fromkeys(settings.seeds)
        for algo, own in chosen.items()
        for relabel in dict.fromkeys(settings.relabel or ("",))
    ]


def _default_algorithms(settings: Train) -> tuple[str, ...]:
    """Algorithms to compare where none were chosen."""
    if settings.relabel:
        return ("sac",)
    env = make_environment(settings.env)
    env.close()
    return default_algorithms(env.action_space)


def _others(trained: list[SavedRun], settings: Train) -> list[SavedRun]:
    """Finished runs of earlier commands in the same folder, on the same environment."""
    own = {run.folder for run in trained}
    found = find_runs([settings.out / "runs"])
    return [
        run
        for run in found
        if run.folder not in own and run.settings.env == settings.env and (run.folder / RESULT).exists()
    ]


def _videos(finished: list[SavedRun], settings: Train) -> list[str]:
    """Write a video of each method; where nothing renders, say on standard error how to get them."""
    written: list[str] = []
    for group in by_method(finished).values():
        path = settings.out / f"{file_name(group[0].label)}.mp4"
        try:
            shot = film(group[0])
        except NoRenderingError as error:
            print(f"no video: {error}", file=sys.stderr)
            return written
        write_video(path, shot.frames, fps=shot.fps)
        written.append(path.name)
    return written


def _row(run: SavedRun) -> dict[str, object]:
    result = read_result(run.folder)
    return {
        "method": run.settings.label,
        "env": run.settings.env,
        "seed": run.settings.seed,
        "steps": result["steps"],
        "return": float(np.mean(result["returns"])),
        "seconds": result["seconds"],
    }
