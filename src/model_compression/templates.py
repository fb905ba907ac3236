"""Longer texts are Jinja templates that lie beside the modules that fill them."""

from pathlib import Path

import jinja2


def fill(template: Path, **given: object) -> str:
    """The text of a template.

    Raises:
        jinja2.UndefinedError: a name in the template that was not given.
    """
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(given)
