"""The commands, one a module: a frozen dataclass of what can be asked, and `run`."""
