"""The published rows are fractions with a source, one for each model, benchmark and version."""

from irg_jax.benchmarks.published import MODELS, PUBLISHED, PUBLISHED_PREFERENCES
from irg_jax.benchmarks.wise.scoring import PLAIN_MEAN


def test_each_row_has_fractions_and_a_source():
    for row in PUBLISHED:
        assert row.source and row.figures
        assert all(0 < value < 1 and name.endswith("overall") for name, value in row.figures.items())
    places = [(row.model, row.benchmark, row.version) for row in PUBLISHED]
    assert len(set(places)) == len(places)
    assert set(MODELS) <= {row.model for row in PUBLISHED}


def test_the_papers_model_is_ahead_of_its_baselines_on_all_five():
    figures = {(row.model, row.benchmark): next(iter(row.figures.values())) for row in PUBLISHED}
    for benchmark in ("geneval", "wise", "tiif", "genai_bench", "oneig"):
        assert figures["IRG", benchmark] > max(figures[name, benchmark] for name in ("BAGEL", "BAGEL + self-CoT"))


def test_a_row_says_which_of_the_two_wise_formulas_it_is_of():
    assert all(row.note and PLAIN_MEAN in row.figures for row in PUBLISHED if row.benchmark == "wise")


def test_a_preference_leaves_room_for_ties():
    assert all(shares.turn1 + shares.turn2 <= 1 for shares in PUBLISHED_PREFERENCES)
