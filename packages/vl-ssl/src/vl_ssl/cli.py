"""The command line: `vl-ssl COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_ssl.__about__ import __version__

_COMMANDS = "vl_ssl.commands"

COMMANDS: dict[str, Command] = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train a network without labels, and watch for collapse",
        {
            "--images photos --backbone resnet18 --epochs 100 --workers 8": "images of your own",
            "--schedule hybrid --switch-at alarm": "one chunk after the other, then all from an alarm on",
            "--images photos --method byol --recipe byol --on-alarm stop": "another method; an alarm ends the run",
        },
    ),
    "probe": Command(
        f"{_COMMANDS}.settings.probe:ProbeModel",
        f"{_COMMANDS}.probe:run",
        "k-NN and linear accuracy of a saved backbone",
        {
            "vl-ssl-train/model": "the backbone of a run on the built-in images",
            "vl-ssl-train/model --images photos --k 20 200": "labeled images of your own, and two k",
        },
    ),
    "collapse": Command(
        f"{_COMMANDS}.settings.collapse:Collapse",
        f"{_COMMANDS}.collapse:run",
        "measure the collapse of features in files",
        {
            "features.npy": "one file of features of shape (n, d)",
            "epoch-10.npy epoch-20.npy epoch-30.npy --out spectra": "several, side by side",
            "features.npz --key embeddings --accurate": "one array of several, without squaring",
        },
    ),
    "forecast": Command(
        f"{_COMMANDS}.settings.forecast:ForecastRuns",
        f"{_COMMANDS}.forecast:run",
        "forecast accuracy from collapse metrics and the loss",
        {
            "vl-ssl-sweep/runs.csv": "runs of a sweep",
            "first second third fourth fifth --features auc loss nesum": "folders of vl-ssl train, and more metrics",
            "runs.csv --groups width": "leave out all runs of a width together",
        },
    ),
    "sweep": Command(
        f"{_COMMANDS}.settings.sweep:Sweep",
        f"{_COMMANDS}.sweep:run",
        "train a grid of small networks, a row each",
        {
            "--width 4 8 16 --seeds 0 1 2": "networks of three widths",
            "--schedule multi-epoch continual hybrid --share 0.1 1 --epochs 20": "schedules and shares of the data",
            "--method simsiam byol --images photos --image-size 32": "images of your own",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-ssl`; see `vl_core.cli.run_command`."""
    return run_command("vl-ssl", __version__, COMMANDS, arguments)
