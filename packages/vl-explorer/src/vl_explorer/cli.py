"""The command line: `vl-explorer COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_explorer.__about__ import __version__

_COMMANDS = "vl_explorer.commands"

COMMANDS: dict[str, Command] = {
    "run": Command(
        f"{_COMMANDS}.settings.run:Run",
        f"{_COMMANDS}.run:run",
        "search for images that look like a target, and train on them",
        {
            "--dry-run": "what it would ask, take and cost, and whether the start encoder can tell what it looks for",
            "--images photos --world full --concept-model linear": "images of your own, and all data sets at hand",
            "--images photos --engine openverse --contact you@example.org --dry-run": "the open web, nothing asked yet",
        },
    ),
    "retry": Command(
        f"{_COMMANDS}.settings.retry:Retry",
        f"{_COMMANDS}.retry:run",
        "download again what failed, by reason",
        {
            "": "the reasons for which addresses of the last run gave no image",
            "--reason dns timeout --contact you@example.org": "try those again that had no answer",
        },
    ),
    "export": Command(
        f"{_COMMANDS}.settings.export:Export",
        f"{_COMMANDS}.export:run",
        "write the images of a store as WebDataset, Parquet or a folder",
        {
            "--format folder --leave-out": "images under free licenses, the others left out",
            "--best 1000 --licenses public-domain CC-BY-4.0": "the 1,000 with the largest rewards, by license",
        },
    ),
    "forget": Command(
        f"{_COMMANDS}.settings.forget:Forget",
        f"{_COMMANDS}.forget:run",
        "take images down for good, by address or hash",
        {
            "https://images.example/heron.jpg --store birds": "one image, and all that look like it",
            "https://gallery.example/page https://other.example/a.png": "all images of a page, and another one",
        },
    ),
    "report": Command(
        f"{_COMMANDS}.settings.report:Report",
        f"{_COMMANDS}.report:run",
        "write the page of a run as one HTML file",
        {"": "the only run of the default store", "--store birds --run herons": "a run by its name"},
    ),
    "dashboard": Command(
        f"{_COMMANDS}.settings.dashboard:Dashboard",
        f"{_COMMANDS}.dashboard:run",
        "serve the page of a run while it goes on",
        {"--store birds": "the only run of a store", "--run herons --port 8000": "a run by its name, at a port"},
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-explorer`; see `vl_core.cli.run_command`."""
    return run_command("vl-explorer", __version__, COMMANDS, arguments)
