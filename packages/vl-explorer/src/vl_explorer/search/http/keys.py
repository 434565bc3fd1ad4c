"""Keys of services: read from the environment, sent to the service, and seen nowhere else."""

from __future__ import annotations

import logging
import os
from typing import Any, NoReturn
from urllib.parse import quote

from vl_explorer.search.engine import SearchError

_SHORTEST = 8
# The HTTP libraries log the address of each request, which holds the key where a service wants it there, and headers.
_LOGGERS = (
    *("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy"),
    *("hpack.hpack", "hpack.table"),
)


class Key(logging.Filter):
    """A key from the environment that shows itself to nobody but the caller of `reveal`.

    Its representation names the variable alone, it cannot be pickled, and while it is `guarded` the HTTP libraries log
    asterisks in its place.

    Args:
        variable: The environment variable that holds it.
        engine: Name of the engine, for messages.

    Raises:
        SearchError: With reason ``"unauthorized"``, if the variable is empty or holds no key.
    """

    def __init__(self, variable: str, engine: str) -> None:
        super().__init__()
        value = os.environ.get(variable, "").strip()
        if not value:
            raise SearchError("unauthorized", f"{engine}: set the environment variable {variable} to your key")
        if len(value) < _SHORTEST or not all("!" <= character <= "~" for character in value):
            raise SearchError(
                "unauthorized",
                f"{engine}: the environment variable {variable} must hold a key of at least {_SHORTEST} visible ASCII "
                f"characters, got {len(value)} characters",
            )
        self.variable = variable
        self._forms = sorted({value, quote(value), quote(value, safe="")}, key=len, reverse=True)
        self._value = value

    def __repr__(self) -> str:
        return f"Key({self.variable!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"the key in {self.variable} is not written to files; make the engine where it is used")

    def reveal(self) -> str:
        """The key itself, for the request alone."""
        return self._value

    def redact(self, text: str) -> str:
        """The text with asterisks in place of the key."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def redact_content(self, content: Any) -> Any:
        """Parsed JSON with asterisks in place of the key, in names and values.

        Redacting the text that is parsed is not enough, since JSON may write each character in several ways.
        """
        if isinstance(content, str):
            return self.redact(content)
        if isinstance(content, dict):
            return {self.redact(name): self.redact_content(value) for name, value in content.items()}
        if isinstance(content, list):
            return [self.redact_content(value) for value in content]
        return content

    def guard(self) -> None:
        """Keep the key out of what the HTTP libraries log."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def release(self) -> None:
        """Undo `guard`."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a log record; all records pass."""
        message = record.getMessage()
        if any(form in message for form in self._forms):
            record.msg, record.args = self.redact(message), None
        return True


def environment_key(variable: str, engine: str) -> Key | None:
    """The key in a variable, or None if the variable is empty.

    Raises:
        SearchError: If the variable holds something that is no key.
    """
    return Key(variable, engine) if os.environ.get(variable, "").strip() else None
