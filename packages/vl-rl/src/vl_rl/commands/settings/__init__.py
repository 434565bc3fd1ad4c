"""The settings of the commands: a frozen dataclass each, with the checks of its values that need no model.

A command line is parsed and checked before the command itself is imported, so nothing here may import torch or what
does: `--help` and most errors then take a second instead of ten.
"""
