"""The held-out samples as HTML: thought, picture, reflection, better picture, and what the scorer says."""

import base64
import html
import io
import itertools
import re
from collections.abc import Sequence

from PIL import Image

from irg_jax.data.shapes.score import Score
from irg_jax.reporting.load import Sample, Turn
from irg_jax.reporting.scoring import Verdict

Judged = tuple[Sample, Verdict | None]

# Larger pictures are shrunk for the page, so that a gallery of 1024-pixel pictures stays one that a phone opens.
_MOST_PIXELS = 512
# Below this side a picture is shown with hard pixels, since blurring it would show what the model did not paint.
_SMALL = 128
_TURN_NAMES = ("draft", "refined picture")


def in_turn(judged: Sequence[Judged], limit: int) -> list[Judged]:
    """At most `limit` samples, one of each kind after the other, each kind in its own order: nothing is picked."""
    kinds: dict[str, list[Judged]] = {}
    for sample, verdict in judged:
        kinds.setdefault(verdict.kind if verdict else "", []).append((sample, verdict))
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    return [pair for pair in rounds if pair is not None][:limit]


def hero(judged: Sequence[Judged]) -> str:
    """A strip of picture pairs without their thoughts."""
    if not judged:
        return ""
    pairs = []
    for sample, verdict in judged:
        before, after = (_picture(sample, turn) for turn in (0, 1))
        marks = "" if verdict is None else _marks(verdict)
        pairs.append(
            f'<figure class="pair"><div>{before}<span>→</span>{after}</div>'
            f"<figcaption>{html.escape(sample.prompt)}{marks}</figcaption></figure>"
        )
    return f'<div class="hero">{"".join(pairs)}</div>'


def card(sample: Sample, verdict: Verdict | None) -> str:
    """One sample in full."""
    kind = verdict.kind.replace("_", " ") if verdict else "free prompt, not scored"
    tag = f"{kind} · sample {sample.index} · seed {sample.seed}"
    return (
        f'<article class="card"><header><h3>{html.escape(sample.prompt)}</h3>'
        f'<span class="tag">{html.escape(tag)}</span></header><div class="flow">'
        f"{_thought('Thinking 1', 't1', sample.turns[0])}{_result('Picture 1', 't1', sample, verdict, 0)}"
        f"{_thought('Thinking 2', 't2', sample.turns[1])}{_result('Picture 2', 't2', sample, verdict, 1)}"
        "</div></article>"
    )


def thinking_html(text: str) -> str:
    """A thought as HTML: its `###` headings, lists and paragraphs; everything in it is escaped."""
    text = re.sub(r"</?think>", "", text)
    blocks: list[tuple[str, list[str]]] = []
    # Numbered steps may also follow one another on one line.
    text = re.sub(r"(?<=[.!])\s+(?=\d+[.)]\s)", "\n", text)
    for line in filter(None, map(str.strip, text.splitlines())):
        tag, body = _classify(line)
        if tag in ("ul", "ol") and blocks and blocks[-1][0] == tag:
            blocks[-1][1].append(body)
        else:
            blocks.append((tag, [body]))
    return "".join(_block(tag, bodies) for tag, bodies in blocks)


def _classify(line: str) -> tuple[str, str]:
    for tag, pattern in (("h4", r"#{1,6}\s+(.*?):?"), ("ul", r"[-*]\s+(.*)"), ("ol", r"\d+[.)]\s+(.*)")):
        found = re.fullmatch(pattern, line)
        if found:
            return tag, found[1]
    return "p", line


def _block(tag: str, bodies: list[str]) -> str:
    escaped = [html.escape(body) for body in bodies]
    inside = "".join(f"<li>{body}</li>" for body in escaped) if tag in ("ul", "ol") else escaped[0]
    return f"<{tag}>{inside}</{tag}>"


def _thought(label: str, style: str, turn: Turn) -> str:
    cut = "" if turn.complete else '<span class="badge bad">cut off: ran out of tokens</span>'
    return (
        f'<section><p class="label {style}">{label}</p><div class="thought">{thinking_html(turn.thinking)}</div>{cut}'
        "</section>"
    )


def _result(label: str, style: str, sample: Sample, verdict: Verdict | None, turn: int) -> str:
    says = "" if verdict is None else _badge(verdict.turns[turn])
    head = f'<p class="label {style}">{label}</p>'
    return f'<section class="result">{head}{_picture(sample, turn)}<div>{says}</div></section>'


def _badge(score: Score) -> str:
    style, word = ("good", "correct") if score.correct else ("bad", "wrong")
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in score.reasons)
    return (
        f'<span class="badge {style}">{"✓" if score.correct else "✗"} {word}</span>'
        f'<ul class="reasons">{reasons}<li>fine detail {score.detail:.2f}</li></ul>'
    )


def _marks(verdict: Verdict) -> str:
    return f' <span class="marks">{_mark(verdict.turns[0])} → {_mark(verdict.turns[1])}</span>'


def _mark(score: Score) -> str:
    return '<span class="up">✓</span>' if score.correct else '<span class="down">✗</span>'


def _picture(sample: Sample, turn: int) -> str:
    picture = sample.turns[turn].picture
    small = "picture pixel" if max(picture.size) < _SMALL else "picture"
    alt = html.escape(f"{_TURN_NAMES[turn]}: {sample.prompt}", quote=True)
    return f'<img class="{small}" alt="{alt}" src="data:image/png;base64,{_png(picture)}">'


def _png(picture: Image.Image) -> str:
    shown = picture.copy()
    shown.thumbnail((_MOST_PIXELS, _MOST_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
