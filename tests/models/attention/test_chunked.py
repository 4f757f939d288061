"""Attention in blocks against the plain reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models.attention import chunked
from irg_jax.models.attention.spans import SAVED, Spans, visits
from tests import tiny
from tests.models.attention.packings import (
    UND,
    D,
    assert_a_blind_query_gets_zero_and_passes_no_gradient_on,
    assert_as_close_as_the_reference_in_bfloat16,
    assert_equals_the_reference,
    assert_it_runs_in_scanned_and_rematerialised_layers,
    assert_no_keys_and_no_queries_are_fine,
    count_in_gradient,
    heads,
    packed,
    random_packings,
)  # fmt: skip

small = functools.partial(chunked.attend, block_q=16, block_k=16)


@pytest.mark.parametrize(
    ("count", "query_heads", "groups", "block_q", "block_k"),
    [(300, 4, 2, 16, 16), (40, 6, 2, 8, 32), (40, 4, 4, 70, 9), (40, 4, 1, 256, 256)],
)
def test_it_equals_the_reference_on_random_packings(count, query_heads, groups, block_q, block_k):
    spans = random_packings(count)
    blocks = functools.partial(chunked.attend, block_q=block_q, block_k=block_k)
    assert_equals_the_reference(blocks, *heads(spans, query_heads, groups), spans)


def test_bfloat16_is_as_close_to_float32_as_the_reference_in_bfloat16():
    assert_as_close_as_the_reference_in_bfloat16(small, random_packings(100))


def test_it_equals_the_reference_on_rows_of_the_layout():
    batch = tiny.batch(*(tiny.row([tiny.conversation(i, 3), tiny.conversation(i + 9, 3)]) for i in range(4)))
    und, gen, vit = (batch[name] for name in ("und", "gen", "vit"))
    names = ("position", "start", "end")
    decoder = Spans(*(np.concatenate([und[name], gen[name]], axis=1) for name in names))
    for spans in (decoder, Spans(*(vit[name] for name in names))):
        blocks = functools.partial(chunked.attend, block_q=32, block_k=16)
        assert_equals_the_reference(blocks, *heads(spans), spans)


def test_queries_may_be_others_than_the_keys():
    """One stream's queries alone, as where a row lies on several devices."""
    spans = random_packings(20)
    spans = spans._replace(query=spans.query[:, UND:])
    assert_equals_the_reference(chunked.attend, *heads(spans), spans)


def test_a_query_that_sees_nothing_gets_zero_and_passes_no_gradient_on():
    assert_a_blind_query_gets_zero_and_passes_no_gradient_on(small)


def test_no_keys_and_no_queries_are_fine():
    assert_no_keys_and_no_queries_are_fine(chunked.attend)


def test_it_runs_in_scanned_and_rematerialised_layers():
    assert_it_runs_in_scanned_and_rematerialised_layers(small)


def test_a_policy_can_keep_what_the_backward_pass_needs():
    policies = jax.checkpoint_policies
    # Forward, forward again, backward.
    assert count_in_gradient(small, policies.nothing_saveable, "while") == 3
    assert count_in_gradient(small, policies.save_only_these_names(SAVED), "while") == 2


# --- what is skipped


lists_of_visits = jax.jit(jax.vmap(visits, (0, None, None)))


def visited(spans, block):
    """For one row of whole blocks: which pairs are visited, and which have anything to see, bool [blocks, blocks]."""
    query, start, end = (x.reshape(-1, block) for x in spans)
    lists, counts = lists_of_visits(query, start, end)
    found = np.zeros((len(query), len(start)), bool)
    for row, index, count in zip(found, lists, counts, strict=True):
        row[index[:count]] = True
    seen = (spans.start <= spans.query[:, None]) & (spans.query[:, None] < spans.end)
    return found, seen.reshape(len(query), block, len(start), block).any((1, 3))


def test_every_block_with_anything_to_see_is_visited_and_hardly_any_other():
    spans = random_packings(100)
    counts = np.zeros(2, int)
    for i in range(100):
        found, needed = visited(Spans(*(x[i] for x in spans)), 10)
        assert not (needed & ~found).any()
        counts += found.sum(), needed.sum()
    assert counts[0] < 1.05 * counts[1]


def test_padding_does_not_widen_a_block():
    start, end = jnp.array([[0, 20], [20, 30]]), jnp.array([[10, 30], [30, 40]])
    for query in ([14, 15], [14, 15, -1]):  # between the spans of the first block, before those of the second
        assert visits(jnp.array(query), start, end)[1] == 0
    index, count = visits(jnp.array([32, -1]), start, end)
    assert count == 1 and index[0] == 1


def test_work_grows_with_the_samples_of_a_row_and_not_with_their_square():
    sample = [("text", 12), ("clean", 16), ("vit", 14), ("text", 12), ("noised", 16)]  # 44 + 32 tokens

    def pairs(samples):
        return visited(packed([sample] * samples, und=44 * 8, gen=32 * 8), 4)[0].sum()

    assert pairs(0) == 0
    assert pairs(8) == 2 * pairs(4) == 8 * pairs(1)


def test_what_nobody_sees_is_not_even_read():
    spans = packed([[("text", 16)], [("text", 16)]], und=48, gen=16)
    spans = Spans(*(x[None] for x in spans))
    q, k, v = heads(spans)
    spoilt = [x.at[:, 16:].set(jnp.nan) for x in (k, v)]  # the second sample and the padding
    attend = functools.partial(chunked.attend, q, spans=spans, block_q=16, block_k=16)
    np.testing.assert_array_equal(attend(k=spoilt[0], v=spoilt[1]).out[:, :16], attend(k=k, v=v).out[:, :16])


def test_a_row_of_131072_tokens_works_and_its_samples_do_not_meet():
    sample = [("text", 254), ("clean", 256), ("vit", 254), ("text", 254), ("noised", 0)]  # 1,024 tokens in 128 samples
    und, gen = 128 * 768, 128 * 256
    spans = Spans(*(x[None] for x in packed([sample] * 128, und=und, gen=gen)))
    assert spans.query.shape == (1, 131072) and (spans.query >= 0).all()
    q, k, v = heads(spans, heads=1, groups=1)
    out = jax.jit(chunked.attend)(q, k, v, Spans(*map(jnp.asarray, spans))).out
    last = np.r_[und - 768 : und, und + gen - 256 : und + gen]
    alone = Spans(*(x[:, last] for x in spans))
    wanted = chunked.attend(q[:, last], k[:, last], v[:, last], alone).out
    np.testing.assert_allclose(out[:, last], wanted, atol=1e-5)


def test_memory_is_linear_in_the_tokens():
    def temporaries(tokens):
        def loss(q, k, v, spans):
            return jnp.sum(chunked.attend(q, k, v, spans, block_q=32, block_k=32).out ** 2)

        q, kv = (jax.ShapeDtypeStruct((2, tokens, n, D), jnp.float32) for n in (4, 2))
        spans = Spans(*[jax.ShapeDtypeStruct((2, tokens), jnp.int32)] * 3)
        lowered = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(q, kv, kv, spans)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    small, large = temporaries(1024), temporaries(4096)
    assert large < 4.1 * small
    assert large < 4096**2  # one byte for each pair of tokens
