"""The oracle as a teacher of texts and pictures: what the world's own records say, where the pictures bear it out."""

import re
from collections.abc import Iterable

from irg_jax.core.errors import UserError
from irg_jax.data.images import encode_png
from irg_jax.data.trajectory import Trajectory
from irg_jax.worlds.shapes.objects import centres
from irg_jax.worlds.shapes.oracle.pictures import pixels
from irg_jax.worlds.shapes.oracle.protocol import Question, Text
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.repaint import repaint
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.score import compare_with_plan
from irg_jax.worlds.shapes.thinking import write_reflection

# The wording of the shipped templates of irg_jax.curate.
_REQUEST = re.compile(r"(?:asked for this picture:|for the following request:)\n\n(.*)\n")


class Teacher:
    """Answers the requests of ``irg_jax.curate``, made with its shipped templates, for the prompts of ``records``.

    Thinking 1 is the record's, and so is a picture that is generated. A picture that is edited keeps what is right in
    it, and thinking 2 is written from what the first picture shows.

    Args:
      records: of the shapes world, with their scenes; of two with the same prompt, the first.
    """

    def __init__(self, records: Iterable[Trajectory]):
        self._records: dict[str, Trajectory] = {}
        for record in records:
            self._records.setdefault(record.prompt, record)

    def __call__(self, question: Question) -> Text | bytes:
        """A text for a chat, a PNG for the other kinds.

        Raises:
          UserError: no record has the prompt, or the pictures are not what the request says they are.
        """
        found = _REQUEST.search(question.text)
        prompt = found[1] if found else question.text.partition("\n")[0]
        record = self._records.get(prompt)
        if record is None:
            raise UserError(
                f"the oracle has no record for the prompt {prompt[:80]!r}; start it with the data that has it (--data)"
            )
        scene = Scene.from_json(record.scene)
        if question.kind != "chat":
            shown = question.pictures
            return encode_png(repaint(pixels(shown[0]), scene)) if shown else record.image2
        if not question.pictures:
            return Text(record.thinking1)
        if len(question.pictures) > 2:
            raise UserError(f"{len(question.pictures)} pictures: a teacher is shown one or two")
        good = pixels(question.pictures[-1])
        if compare_with_plan(read_picture(good), scene.plan):
            raise UserError(f"the good picture for {prompt!r} does not show what its record plans")
        if len(question.pictures) == 1:
            return Text(record.thinking1)
        seen = read_picture(pixels(question.pictures[0])).content(scene.style)
        return Text(write_reflection(scene, seen, tuple(centres(len(good)))))
