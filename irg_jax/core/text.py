"""Text that people and files give: is it text?"""

from typing import Any

from irg_jax.core.errors import UserError


def check_text(text: Any, where: str) -> str:
    """The text itself.

    A lone surrogate, half of a character, stands in a ``str`` for a byte of the command line that is not UTF-8, or
    comes from an escape in JSON; no tokenizer takes it.

    Raises:
      UserError: it is not a str, or has half of a character, at ``where``.
    """
    if not isinstance(text, str):
        raise UserError(f"{where} is {text!r:.60}, not a text; give a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"half of a surrogate pair at character {error.start}"
        raise UserError(f"{where} has {half}; write the whole character, in UTF-8") from error
    return text
