"""What a vision language model is asked about an image."""

from typing import NamedTuple


class Question(NamedTuple):
    """One call: the image, then the text, in one message of the user, without a system text.

    Attributes:
      id: names it among the questions about the image.
      text: that follows the image.
      max_tokens: of the answer.
    """

    id: str
    text: str
    max_tokens: int
