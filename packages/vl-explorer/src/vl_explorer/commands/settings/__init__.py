"""The settings of the commands: a frozen dataclass each, with the checks of its values that need no model."""
