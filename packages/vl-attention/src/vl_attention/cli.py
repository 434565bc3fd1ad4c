"""The command line: `vl-attention COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_attention.__about__ import __version__

_COMMANDS = "vl_attention.commands"

COMMANDS = {
    "pretrain": Command(
        f"{_COMMANDS}.settings.pretrain:Pretrain",
        f"{_COMMANDS}.pretrain:run",
        "pre-train a small teacher without labels",
        {
            "photos/ --image-size 64 --channels 3 --patch 8": "color images of a folder, at 64 pixels",
        },
    ),
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train students from a teacher's attention",
        {
            "photos/ --teacher vl-attention-pretrain/model --labels 0": "all labels, from your own teacher",
            "--methods distill fine-tune --seeds 0 1 2": "two methods and their ensemble, three seeds each",
        },
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.evaluate:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "measure accuracy under distribution shifts",
        {
            "fashion_distilled --images photos/ --shifts all": "one model on your images, under all shifts",
        },
    ),
    "ensemble": Command(
        f"{_COMMANDS}.settings.ensemble:EnsembleModels",
        f"{_COMMANDS}.ensemble:run",
        "measure the accuracy of an ensemble",
        {
            "fashion_distilled fashion_fine_tuned --fit 500": "with weights fitted on 500 other images",
        },
    ),
    "maps": Command(
        f"{_COMMANDS}.settings.maps:Maps",
        f"{_COMMANDS}.maps:run",
        "draw and compare the attention of models",
        {
            "fashion_teacher fashion_distilled --layer 3 --head 0": "one head of the fourth layer",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-attention`; see `vl_core.cli.run_command`."""
    return run_command("vl-attention", __version__, COMMANDS, arguments)
