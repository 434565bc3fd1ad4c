"""Commands, one per module: a frozen dataclass of settings, and a function `run`."""
