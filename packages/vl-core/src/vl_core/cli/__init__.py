"""The command line of a package: one entry for all of its commands, which answers before anything heavy is imported.

A command is two things. Its settings are a frozen dataclass in a light module, which imports neither torch nor a model
library; tyro turns the dataclass into options. Before the command is imported, its values are checked: each by the
marks of its type (`Count`, `Seed`, `FolderPath`, `RunPath`, `DeviceName`, or a `Range` of numbers); together, by the
method ``check`` of the settings, if there is one; and what lies in files, such as the images, by ``check_input``.
What the command does is a function ``run(settings)`` in a module of its own, which is imported only when all is good.
So ``--help`` and most errors take a second instead of ten. tyro comes with the extra ``cli``.
"""

from vl_core.cli._checks import Check, Range, check_values
from vl_core.cli._command import Command, note_on_interruption, run_command
from vl_core.cli._options import Count, DeviceName, FolderPath, Groups, ImageSource, Metavar, ModelName, RunPath, Seed

__all__ = [
    "Check",
    "Command",
    "Count",
    "DeviceName",
    "FolderPath",
    "Groups",
    "ImageSource",
    "Metavar",
    "ModelName",
    "Range",
    "RunPath",
    "Seed",
    "check_values",
    "note_on_interruption",
    "run_command",
]
