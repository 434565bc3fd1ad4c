"""`vl-rl train`: train algorithms side by side."""

from __future__ import annotations

from vl_core.cli import note_on_interruption
from vl_core.devices import find_device
from vl_core.progress import progress_bar

from vl_rl.commands.settings.train import Train
from vl_rl.training.run import train_run
from vl_rl.training.settings import RunSettings

RESUME = "rerun to resume from the last checkpoint"


def run(settings: Train) -> None:
    """Run what `settings.out` does not contain yet.

    Raises:
        ValueError: If an argument is invalid, or the folder holds runs of other settings.
        OSError: If a file is missing or cannot be read.
    """
    settings.check()
    device = find_device(settings.device)
    runs = [
        RunSettings(
            algo=algo,
            env=settings.env,
            seed=seed,
            total_timesteps=settings.total_timesteps,
            eval_every=settings.eval_every,
            eval_episodes=settings.eval_episodes,
            checkpoint_every=settings.checkpoint_every,
            device=device,
        )
        for seed in dict.fromkeys(settings.seeds)
        for algo in dict.fromkeys(settings.algo)
    ]
    with (
        note_on_interruption(RESUME),
        progress_bar(total=len(runs) * settings.total_timesteps, desc="training", unit="steps") as bar,
    ):
        for one in runs:
            bar.set_description_str(f"{one.label}, seed {one.seed}")
            result = train_run(one, settings.out / one.folder, progress=bar.update)
            print(one.label, one.seed, result["returns"], result["seconds"])
