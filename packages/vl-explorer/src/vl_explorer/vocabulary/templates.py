"""Texts of concepts for an embedding, from a template."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vl_explorer.vocabulary.concepts import Concept

SENSE_TEMPLATE = "{name} ({hypernym}): {definition}"
"""The paper's template."""

FIELDS = ("name", "hypernym", "definition")


def check_template(template: str) -> None:
    """Refuse a template with other fields than name, hypernym and definition, or with none.

    Raises:
        ValueError: If it has.
    """
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"template must be a format string, got {template!r}: {error}") from error
    if not fields or set(fields) - set(FIELDS):
        raise ValueError(f"template must have fields of {', '.join(FIELDS)}, got {template!r}")


def text_of(concept: Concept, template: str = SENSE_TEMPLATE) -> str:
    """Text of a concept; what surrounds an empty part is left out with it.

    Args:
        concept: The concept.
        template: Format string with the fields name, hypernym and definition.

    Example:
        >>> from vl_explorer.vocabulary.concepts import Concept
        >>> text_of(Concept("tabby", "tabby", "a cat with a striped coat", "cat"))
        'tabby (cat): a cat with a striped coat'
        >>> text_of(Concept("tabby", "tabby"))
        'tabby'
    """
    values = {field: getattr(concept, field) for field in FIELDS}
    text = template.format(**values)
    if any(not value for field, value in values.items() if f"{{{field}}}" in template):
        text = re.sub(r"\s*(\(\s*\)|\[\s*\])", "", text)
        text = re.sub(r"^[\s:;,–-]+|[\s:;,–-]+$", "", text)
    return text
