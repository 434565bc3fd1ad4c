"""The options of a command, as its settings declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Groups: TypeAlias = Mapping[str, Sequence[str]]
"""Headings of the help of a command, and the fields below each; the class attribute ``GROUPS`` of its settings."""
