"""The frame of a chart: an SVG with a title above and a legend below."""

import html

COLOURS = 6  # c0, c1, … of the style sheet


def figure(title: str, label: str, size: tuple[float, float], body: str, legend: str) -> str:
    """A chart.

    Args:
      title: above it; ``label`` is what it shows, for those who do not see it.
      label: see ``title``.
      size: (width, height) of what ``body`` is drawn on.
      body: SVG.
      legend: HTML, a ``<li>`` for each entry.
    """
    shown = html.escape(label, quote=True)
    return (
        f'<figure class="chart"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" role="img" aria-label="{shown}">{body}</svg>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def colour(index: int, again: str) -> str:
    """The classes of the line or bar of this number: after the last colour they begin anew, with class ``again``."""
    return f"c{index % COLOURS}" + f" {again}" * (index // COLOURS % 2)
