"""The section of the report on the controls of the second turn."""

import html
from typing import Any

from irg_jax.reporting.wording import percent, signed_interval

_MEANING = {
    "another reflection": "image 2 after the thinking 2 of another prompt",
    "another picture": "image 2 after the image 1 of another prompt",
    "turn 3": "the second turn once more, with image 2 in the place of image 1",
    "turn 4": "and once more",
    "one turn, twice the steps": "image 1 with as many steps as two turns take",
    "better of two": "of two first turns, the one in which the model itself finds fewer faults",
    "image 2 only where faults are named": "image 1 is kept where thinking 2 says that nothing is wrong",
}


def section(scores: dict[str, Any]) -> str:
    """The section, from the content of scores.json; empty where no controls were sampled."""
    if not scores["controls"]:
        return ""
    turns = [(f"turn {turn}", "", scores[f"turn{turn}"], None) for turn in (1, 2)]
    controls = [
        (name, _MEANING.get(name, ""), found, found["minus_turn2"]) for name, found in scores["controls"].items()
    ]
    body = "".join(_row(*each) for each in [*turns, *controls])
    return (
        '<p class="note">The second turn with one thing changed. Where looking at image 1 is what makes image 2 '
        "better, another reflection and another picture have to hurt. Differences are of the same prompts, in "
        "percentage points; in brackets a 95 % interval from a paired bootstrap over prompts.</p>"
        '<div class="panel scroll"><table><thead><tr><th>what</th><th>correct</th><th>fine detail</th>'
        f"<th>minus turn 2</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(name: str, meaning: str, found: dict[str, Any], minus: dict[str, float] | None) -> str:
    difference = "—" if minus is None else signed_interval(minus)
    note = f" <small>{html.escape(meaning)}</small>" if meaning else ""
    cells = f"<td>{percent(found['overall'])}</td><td>{found['detail']:.2f}</td><td>{difference}</td>"
    return f"<tr><th>{html.escape(name)}{note}</th>{cells}</tr>"
