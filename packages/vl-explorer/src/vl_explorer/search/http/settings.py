"""Settings of the requests of an engine of the web, and of its patience when no answer comes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RequestSettings:
    """Tries, waits, and limits of answers.

    Raises:
        ValueError: If a number is out of range.
    """

    tries: int = 4
    """Requests for one page, the first among them, while the service is throttling or out of reach."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled for each further one."""
    longest_wait: float = 60.0
    """Seconds that one wait may take. A service that asks for more by ``Retry-After`` ends the search."""
    max_bytes: int = 8 * 1024**2
    """Bytes of one answer; larger ones are not read."""
    max_seconds: float = 30.0
    """Seconds for one answer, from the connection to its last byte."""

    def __post_init__(self) -> None:
        for name in ("tries", "max_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name, least in (("first_wait", 0.0), ("longest_wait", 0.0), ("max_seconds", 0.001)):
            seconds = getattr(self, name)
            if not least <= seconds < float("inf"):
                raise ValueError(f"{name} must be a number of seconds of at least {least:g}, got {seconds!r}")
