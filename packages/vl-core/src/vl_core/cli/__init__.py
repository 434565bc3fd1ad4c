"""The command line of a package: one entry for all of its commands, which answers before anything heavy is imported.

A command is two things. Its settings are a frozen dataclass in a light module, which imports neither torch nor a model
library; tyro turns the dataclass into options, and its method ``check``, if there is one, refuses values that need no
model to be seen as wrong. What it does is a function ``run(settings)`` in a module of its own, which is imported only
when the settings are good. So ``--help`` and most errors take a second instead of ten. tyro comes with the extra
``cli``.
"""

from vl_core.cli._checks import check_above, check_at_least
from vl_core.cli._command import Command, note_on_interruption, run_command
from vl_core.cli._options import DeviceName, FolderPath, Groups, ImageSource, Metavar, ModelName

__all__ = [
    "Command",
    "DeviceName",
    "FolderPath",
    "Groups",
    "ImageSource",
    "Metavar",
    "ModelName",
    "check_above",
    "check_at_least",
    "note_on_interruption",
    "run_command",
]
