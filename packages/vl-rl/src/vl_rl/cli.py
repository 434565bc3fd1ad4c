"""The command line: `vl-rl COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_rl.__about__ import __version__

_COMMANDS = "vl_rl.commands"

COMMANDS = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train algorithms side by side, over seeds",
        {
            "--env vl_rl/PointTrajectory-v0 --relabel air none": "generalized hindsight beside none",
            "--env vl_rl/PointGather-v0 --algo hippo ppo": "skills of random length beside plain PPO",
            "--env HalfCheetah-v5 --algo sac --total-timesteps 100000": "another environment, one algorithm",
            "--algo ppo --hyperparams ppo.yml --env Hopper-v5": "rl-zoo3's hyper-parameters",
        },
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.evaluate:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "score trained models, with statistics over seeds",
        {
            "vl-rl-train --baseline sac --episodes 50": "against plain SAC",
        },
    ),
    "plot": Command(
        f"{_COMMANDS}.settings.plot:Plot",
        f"{_COMMANDS}.plot:run",
        "draw learning curves, also in mid-training",
        {
            "vl-rl-train --metric train/critic_loss": "another metric",
        },
    ),
    "render": Command(
        f"{_COMMANDS}.settings.render:Render",
        f"{_COMMANDS}.render:run",
        "write videos of trained models, without a display",
        {
            "vl-rl-train/runs/sac --episodes 3 --gif": "three episodes of one method, as MP4 and GIF",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-rl`; see `vl_core.cli.run_command`."""
    return run_command("vl-rl", __version__, COMMANDS, arguments)
