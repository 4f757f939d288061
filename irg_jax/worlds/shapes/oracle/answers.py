"""All that the oracle answers: a teacher where something is to be made, a judge where something is to be said."""

from collections.abc import Iterable

from irg_jax.data.trajectory import Trajectory
from irg_jax.worlds.shapes.oracle.judge import judge
from irg_jax.worlds.shapes.oracle.protocol import Question, Text
from irg_jax.worlds.shapes.oracle.teacher import Teacher


class Oracle:
    """The answer to every question about the shapes world, for a ``Server``.

    Args:
      records: whose prompts it teaches, see ``Teacher``; it judges pictures of any prompt of the world.
    """

    def __init__(self, records: Iterable[Trajectory] = ()):
        self._teacher = Teacher(records)

    def __call__(self, question: Question) -> Text | bytes:
        """The right answer. Raises UserError, which says what is understood, where there is none."""
        # Requests for a thinking say in which tags it has to be; no judge is asked for them.
        if question.kind != "chat" or "<think>" in question.text:
            return self._teacher(question)
        return judge(question)
