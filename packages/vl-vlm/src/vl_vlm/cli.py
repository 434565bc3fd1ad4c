"""The command line: `vl-vlm COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_vlm.__about__ import __version__

_COMMANDS = "vl_vlm.commands"

COMMANDS = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train a dual encoder of images and captions",
        {
            "--captions photos --image-size 64 --updates 5000": "images and captions of your own",
            "--captions 'shards-{0..9}.tar' --loss sigmoid --batch-size 1024 --sub-batch 128": "shards, in parts",
            "--model runs/first/model --recipe lit --captions photos": "another text network for images that stay",
        },
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.evaluate:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "evaluate a model of images and texts",
        {
            "vl-vlm-train/model": "a model of your own on scenes",
            "clip-folder --task retrieval --data photos": "a model of transformers on captions of your own",
            "clip-folder --task winoground --data examples.jsonl --images images": "pairs that differ in composition",
        },
    ),
    "compare": Command(
        f"{_COMMANDS}.settings.compare:Compare",
        f"{_COMMANDS}.compare:run",
        "compare two evaluated models item by item",
        {
            "vl-vlm-evaluate other-evaluate": "two folders of vl-vlm evaluate",
        },
    ),
    "scenes": Command(
        f"{_COMMANDS}.settings.scenes:Scenes",
        f"{_COMMANDS}.scenes:run",
        "write procedural scenes with captions",
        {
            "--count 2000 --size 32 --kinds relations": "small images of two objects in a relation",
            "--split held_out --seed 1": "combinations that the other splits never show",
            "--format parquet --negatives": "tables with images, captions and false captions",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-vlm`; see `vl_core.cli.run_command`."""
    return run_command("vl-vlm", __version__, COMMANDS, arguments)
