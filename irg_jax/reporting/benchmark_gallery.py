"""The prompts where the second turn gained and lost most, with both images."""

import html
import math
import statistics

from irg_jax.benchmarks.benchmark import Row
from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, retry
from irg_jax.data.images import decode
from irg_jax.reporting.benchmark_comparison import Change, Scored, Summary
from irg_jax.reporting.gallery import embedded_image

_MAX_SIDE = 256  # a page of five benchmarks has a hundred images
_SHOWN = 6  # gains, and as many losses


def quality(row: Row, benchmark: Summary) -> float:
    """What a benchmark says about one image: the mean of the figures, without overalls, that it is the only row of.

    NaN where it says nothing.
    """
    figures = benchmark.summarise([row])
    values = [value for name, value in figures.items() if not name.endswith("overall") and math.isfinite(value)]
    return statistics.fmean(values) if values else math.nan


def best_and_worst(change: Change, benchmark: Summary) -> str:
    """The largest gains and losses from one turn to the next, as HTML; every text is escaped.

    Images that cannot be read are replaced by a text that says so.
    """
    before = {(row.key, row.sample): row for row in change.before.result.rows}
    pairs = [(before[row.key, row.sample], row) for row in change.after.result.rows if (row.key, row.sample) in before]
    scored = [(quality(first, benchmark), quality(second, benchmark), first) for first, second in pairs]
    scored = [entry for entry in scored if not math.isnan(entry[1] - entry[0])]
    # Equal changes in the order of the prompts, so that none is picked for how it looks.
    gains = sorted((entry for entry in scored if entry[1] > entry[0]), key=lambda entry: entry[0] - entry[1])
    losses = sorted((entry for entry in scored if entry[1] < entry[0]), key=lambda entry: entry[1] - entry[0])
    note = (
        f"Of {len(scored)} images, {len(gains)} score higher in {change.after.label} than in {change.before.label}, "
        f"{len(losses)} lower, and {len(scored) - len(gains) - len(losses)} the same. The largest changes are shown, "
        "equal ones in the order of the results; none was picked for how it looks."
    )
    parts = [
        f"<h4>Largest {name}: {len(shown)} of {len(entries)}</h4>"
        f'<div class="hero">{"".join(_pair(change, *entry) for entry in shown)}</div>'
        for name, entries in (("gains", gains), ("losses", losses))
        if (shown := entries[:_SHOWN])
    ]
    return f'<p class="note">{html.escape(note)}</p>{"".join(parts)}'


def _pair(change: Change, first: float, second: float, row: Row) -> str:
    images = [_image(scored, row) for scored in (change.before, change.after)]
    prompt = change.after.result.prompts.get(row.key, row.key)
    direction = "up" if second > first else "down"
    tag = f"{row.category} · {row.key} · sample {row.sample}"
    return (
        f'<figure class="pair"><div>{images[0]}<span>→</span>{images[1]}</div>'
        f'<figcaption>{html.escape(prompt)} <span class="marks {direction}">{first:.2f} → {second:.2f}</span>'
        f'<br><span class="tag">{html.escape(tag)}</span></figcaption></figure>'
    )


def _image(scored: Scored, row: Row) -> str:
    name = scored.result.images.get((row.key, row.sample))
    if name is None:
        return '<span class="note">no image in the results</span>'
    path = scored.folder / name
    alt = f"{scored.label}: {scored.result.prompts.get(row.key, row.key)}"
    try:
        return embedded_image(decode(_read(path), str(path)), alt, _MAX_SIDE)
    except (OSError, UserError) as error:
        reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is no image"
        return f'<span class="note">{html.escape(f"{name}: {reason}")}</span>'


def _read(path: AnyPath) -> bytes:
    return retry(path.read_bytes, f"{path}: cannot be read")
