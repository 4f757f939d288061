"""Chunked attention against the plain reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models.attention import chunked
from irg_jax.models.attention.spans import SAVED, Spans, visible_blocks
from tests import tiny
from tests.models.attention.packings import (
    UND,
    D,
    assert_a_query_without_keys_has_zero_output_and_gradient,
    assert_bfloat16_is_as_close_as_the_reference,
    assert_empty_keys_and_queries_are_allowed,
    assert_it_works_under_scan_and_remat,
    assert_matches_the_reference,
    count_in_gradient,
    packed,
    random_packings,
    random_qkv,
)

small = functools.partial(chunked.attend, block_q=16, block_k=16)


@pytest.mark.parametrize(
    ("count", "query_heads", "groups", "block_q", "block_k"),
    [(300, 4, 2, 16, 16), (40, 6, 2, 8, 32), (40, 4, 4, 70, 9), (40, 4, 1, 256, 256)],
)
def test_it_matches_the_reference_on_random_packings(count, query_heads, groups, block_q, block_k):
    spans = random_packings(count)
    blocks = functools.partial(chunked.attend, block_q=block_q, block_k=block_k)
    assert_matches_the_reference(blocks, *random_qkv(spans, query_heads, groups), spans)


def test_bfloat16_is_as_close_to_float32_as_the_reference_in_bfloat16():
    assert_bfloat16_is_as_close_as_the_reference(small, random_packings(100))


def test_it_matches_the_reference_on_rows_of_the_layout():
    batch = tiny.batch(*(tiny.row([tiny.conversation(i, 3), tiny.conversation(i + 9, 3)]) for i in range(4)))
    und, gen, vit = (batch[name] for name in ("und", "gen", "vit"))
    names = ("position", "start", "end")
    decoder = Spans(*(np.concatenate([und[name], gen[name]], axis=1) for name in names))
    for spans in (decoder, Spans(*(vit[name] for name in names))):
        blocks = functools.partial(chunked.attend, block_q=32, block_k=16)
        assert_matches_the_reference(blocks, *random_qkv(spans), spans)


def test_queries_may_differ_from_the_keys():
    """Only one stream's queries, as where the tokens of a row are sharded over devices."""
    spans = random_packings(20)
    spans = spans._replace(query=spans.query[:, UND:])
    assert_matches_the_reference(chunked.attend, *random_qkv(spans), spans)


def test_a_query_without_keys_has_zero_output_and_gradient():
    assert_a_query_without_keys_has_zero_output_and_gradient(small)


def test_empty_keys_and_queries_are_allowed():
    assert_empty_keys_and_queries_are_allowed(chunked.attend)


def test_it_works_under_scan_and_remat():
    assert_it_works_under_scan_and_remat(small)


def test_a_remat_policy_can_save_what_the_backward_pass_needs():
    policies = jax.checkpoint_policies
    # Forward, forward again, backward.
    assert count_in_gradient(small, policies.nothing_saveable, "while") == 3
    assert count_in_gradient(small, policies.save_only_these_names(SAVED), "while") == 2


# --- which blocks are skipped


blocks_of_rows = jax.jit(jax.vmap(visible_blocks, (0, None, None)))


def block_pairs(spans, block):
    """Which pairs of blocks of a row are computed, and which have a visible pair of tokens, bool [blocks, blocks]."""
    query, start, end = (x.reshape(-1, block) for x in spans)
    lists, counts = blocks_of_rows(query, start, end)
    computed = np.zeros((len(query), len(start)), bool)
    for row, index, count in zip(computed, lists, counts, strict=True):
        row[index[:count]] = True
    seen = (spans.start <= spans.query[:, None]) & (spans.query[:, None] < spans.end)
    return computed, seen.reshape(len(query), block, len(start), block).any((1, 3))


def test_every_visible_block_is_computed_and_hardly_any_other():
    spans = random_packings(100)
    counts = np.zeros(2, int)
    for i in range(100):
        computed, visible = block_pairs(Spans(*(x[i] for x in spans)), 10)
        assert not (visible & ~computed).any()
        counts += computed.sum(), visible.sum()
    assert counts[0] < 1.05 * counts[1]


def test_padding_does_not_widen_a_block():
    start, end = jnp.array([[0, 20], [20, 30]]), jnp.array([[10, 30], [30, 40]])
    for query in ([14, 15], [14, 15, -1]):  # between the spans of the first block, before those of the second
        assert visible_blocks(jnp.array(query), start, end)[1] == 0
    index, count = visible_blocks(jnp.array([32, -1]), start, end)
    assert count == 1 and index[0] == 1


def test_work_is_linear_in_the_samples_of_a_row():
    sample = [("text", 12), ("clean", 16), ("vit", 14), ("text", 12), ("noised", 16)]  # 44 + 32 tokens

    def pairs(samples):
        return block_pairs(packed([sample] * samples, und=44 * 8, gen=32 * 8), 4)[0].sum()

    assert pairs(0) == 0
    assert pairs(8) == 2 * pairs(4) == 8 * pairs(1)


def test_hidden_blocks_are_not_read():
    spans = packed([[("text", 16)], [("text", 16)]], und=48, gen=16)
    spans = Spans(*(x[None] for x in spans))
    q, k, v = random_qkv(spans)
    with_nan = [x.at[:, 16:].set(jnp.nan) for x in (k, v)]  # the second sample and the padding
    attend = functools.partial(chunked.attend, q, spans=spans, block_q=16, block_k=16)
    np.testing.assert_array_equal(attend(k=with_nan[0], v=with_nan[1]).out[:, :16], attend(k=k, v=v).out[:, :16])


def test_a_row_of_131072_tokens_works_and_its_samples_do_not_mix():
    sample = [("text", 254), ("clean", 256), ("vit", 254), ("text", 254), ("noised", 0)]  # 1,024 tokens in 128 samples
    und, gen = 128 * 768, 128 * 256
    spans = Spans(*(x[None] for x in packed([sample] * 128, und=und, gen=gen)))
    assert spans.query.shape == (1, 131072) and (spans.query >= 0).all()
    q, k, v = random_qkv(spans, heads=1, groups=1)
    out = jax.jit(chunked.attend)(q, k, v, Spans(*map(jnp.asarray, spans))).out
    last = np.r_[und - 768 : und, und + gen - 256 : und + gen]
    alone = Spans(*(x[:, last] for x in spans))
    wanted = chunked.attend(q[:, last], k[:, last], v[:, last], alone).out
    np.testing.assert_allclose(out[:, last], wanted, rtol=0, atol=1e-6)


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
