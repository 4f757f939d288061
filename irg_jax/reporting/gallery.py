"""The held-out samples as HTML: thinking 1, image 1, thinking 2, image 2, and what the scorer says."""

import base64
import html
import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from irg_jax.data.images import encode_png
from irg_jax.reporting.load import Sample, Turn
from irg_jax.reporting.scoring import SampleScore
from irg_jax.worlds.shapes.score import Score
from irg_jax.worlds.shapes.thinking import write_faults

ScoredSample = tuple[Sample, SampleScore | None]

# Larger images are shrunk for the page, so that a phone can open a gallery of 1024-pixel images.
_MAX_SIDE = 512
# Smaller images are shown with hard pixels: blurring would show what the model did not generate.
MIN_SMOOTH_SIDE = 128


def interleave_kinds(samples: Sequence[ScoredSample], limit: int) -> list[ScoredSample]:
    """The first `limit` samples, taking the kinds in turn and each kind in its own order: nothing is picked."""
    return _interleave(samples, limit, lambda score: score.kind)


def interleave_faults(samples: Sequence[ScoredSample], limit: int) -> list[ScoredSample]:
    """Likewise by what is wrong with image 1 first, whatever is said about it."""
    return _interleave(samples, limit, lambda score: next((fault.kind for fault in score.reading.faults or ()), ""))


def _interleave(
    samples: Sequence[ScoredSample], limit: int, kind_of: Callable[[SampleScore], str]
) -> list[ScoredSample]:
    kinds: dict[str, list[ScoredSample]] = {}
    for sample, score in samples:
        kinds.setdefault(kind_of(score) if score else "", []).append((sample, score))
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    return [pair for pair in rounds if pair is not None][:limit]


def hero(samples: Sequence[ScoredSample]) -> str:
    """A strip of image pairs without their thinking."""
    if not samples:
        return ""
    pairs = []
    for sample, score in samples:
        before, after = (_image(sample, turn) for turn in (0, 1))
        marks = "" if score is None else _marks(score)
        pairs.append(
            f'<figure class="pair"><div>{before}<span>→</span>{after}</div>'
            f"<figcaption>{html.escape(sample.prompt)}{marks}</figcaption></figure>"
        )
    return f'<div class="hero">{"".join(pairs)}</div>'


def card(sample: Sample, score: SampleScore | None) -> str:
    """One sample in full."""
    kind = score.kind.replace("_", " ") if score else "free prompt, not scored"
    tag = f"{kind} · sample {sample.index} · seed {sample.seed}"
    return (
        f'<article class="card"><header><h3>{html.escape(sample.prompt)}</h3>'
        f'<span class="tag">{html.escape(tag)}</span></header><div class="flow">'
        f"{_thinking('Thinking 1', 't1', sample.turns[0])}{_result('Image 1', 't1', sample, score, 0)}"
        f"{_thinking('Thinking 2', 't2', sample.turns[1], _verdict(score))}{_result('Image 2', 't2', sample, score, 1)}"
        "</div></article>"
    )


def thinking_html(text: str) -> str:
    """A thinking text as HTML: its `###` headings, lists and paragraphs; everything in it is escaped."""
    text = re.sub(r"</?think>", "", text)
    blocks: list[tuple[str, list[str]]] = []
    # Several numbered steps may share a line.
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


def _verdict(score: SampleScore | None) -> str:
    """Whether thinking 2 is true of image 1, and what is wrong with that; nothing where that cannot be told."""
    if score is None or score.reading.faults is None:
        return ""
    reading, faults = score.reading, score.reading.faults
    seen = _judgement(reading.seen, "says exactly what image 1 shows", "does not say exactly what image 1 shows")
    if faults:
        named = _judgement(reading.exact, "names exactly what is wrong", "does not name exactly what is wrong")
    else:
        named = _judgement(reading.exact, "rightly finds nothing wrong", "does not say that nothing is wrong")
    said = "nothing that can be read" if reading.named is None else write_faults(sorted(reading.named, key=str))
    items = (("In image 1", write_faults(faults)), ("Named", said))
    listed = "".join(f"<li>{label}: {html.escape(text)}</li>" for label, text in items)
    return f'{seen} {named}<ul class="reasons">{listed}</ul>'


def _judgement(right: bool, good: str, bad: str) -> str:
    return f'<span class="badge {"good" if right else "bad"}">{good if right else bad}</span>'


def _thinking(label: str, style: str, turn: Turn, verdict: str = "") -> str:
    cut = "" if turn.complete else '<span class="badge bad">cut off: ran out of tokens</span>'
    text = f'<div class="thinking">{thinking_html(turn.thinking)}</div>'
    return f'<section><p class="label {style}">{label}</p>{text}{verdict}{cut}</section>'


def _result(label: str, style: str, sample: Sample, score: SampleScore | None, turn: int) -> str:
    badge = "" if score is None else _badge(score.turns[turn], score.kept if turn == 1 else None)
    head = f'<p class="label {style}">{label}</p>'
    return f'<section class="result">{head}{_image(sample, turn)}<div>{badge}</div></section>'


def _badge(score: Score, kept: float | None) -> str:
    style, word = ("good", "correct") if score.correct else ("bad", "wrong")
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in score.reasons)
    keeps = "" if kept is None else f"<li>keeps {kept:.2f} of what image 1 has right</li>"
    return (
        f'<span class="badge {style}">{"✓" if score.correct else "✗"} {word}</span>'
        f'<ul class="reasons">{reasons}<li>fine detail {score.detail:.2f}</li>{keeps}</ul>'
    )


def _marks(score: SampleScore) -> str:
    return f' <span class="marks">{_mark(score.turns[0])} → {_mark(score.turns[1])}</span>'


def _mark(score: Score) -> str:
    return '<span class="up">✓</span>' if score.correct else '<span class="down">✗</span>'


def _image(sample: Sample, turn: int) -> str:
    return embedded_image(sample.turns[turn].image, f"image {turn + 1}: {sample.prompt}")


def embedded_image(image: Image.Image, alt: str, max_side: int = _MAX_SIDE) -> str:
    """An image inside the page, shrunk where a side is longer than ``max_side`` pixels; ``alt`` is plain text."""
    style = "image pixel" if max(image.size) < MIN_SMOOTH_SIDE else "image"
    shown = image.copy()
    shown.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    content = base64.b64encode(encode_png(np.asarray(shown))).decode()
    return f'<img class="{style}" alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{content}">'
