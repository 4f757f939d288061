"""The TPU kernels against the plain reference in Pallas' interpreter, and compiled ahead of time for TPUs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.core.errors import UserError
from irg_jax.models.attention import tpu
from irg_jax.models.attention.spans import SAVED, Spans, visible_blocks
from irg_jax.models.attention.tpu_steps import list_steps
from tests.models.attention.packings import (
    UND,
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

attend = functools.partial(tpu.attend, block_q=16, block_k=16, interpret=True)


@pytest.mark.parametrize(
    ("count", "query_heads", "groups", "block_q", "block_k"),
    [(120, 4, 2, 16, 16), (40, 6, 2, 8, 32), (40, 4, 4, 48, 24), (40, 4, 1, None, 1024)],
)
def test_it_matches_the_reference_on_random_packings(count, query_heads, groups, block_q, block_k):
    spans = random_packings(count)
    kernels = functools.partial(tpu.attend, block_q=block_q, block_k=block_k, interpret=True)
    assert_matches_the_reference(kernels, *random_qkv(spans, query_heads, groups), spans)


def test_bfloat16_is_as_close_to_float32_as_the_reference_in_bfloat16():
    assert_bfloat16_is_as_close_as_the_reference(attend, random_packings(40))


def test_blocks_of_several_subtiles():
    """Blocks as large as on hardware: a step has several subtiles, the last ones smaller."""
    rng = np.random.default_rng(0)
    position = np.arange(640, dtype=np.int32)[None]
    end = position + rng.integers(1, 700, position.shape, dtype=np.int32)
    spans = Spans(position, position, end)
    assert_matches_the_reference(functools.partial(tpu.attend, interpret=True), *random_qkv(spans, 2, 1), spans)


def test_queries_may_differ_from_the_keys():
    """Only one stream's queries, as where the tokens of a row are sharded over devices."""
    spans = random_packings(20)
    spans = spans._replace(query=spans.query[:, UND:])
    assert_matches_the_reference(attend, *random_qkv(spans), spans)


def test_a_query_without_keys_has_zero_output_and_gradient():
    assert_a_query_without_keys_has_zero_output_and_gradient(attend)


def test_empty_keys_and_queries_are_allowed():
    assert_empty_keys_and_queries_are_allowed(attend)


def test_it_works_under_scan_and_remat():
    assert_it_works_under_scan_and_remat(attend)


def test_a_remat_policy_can_save_what_the_backward_pass_needs():
    policies = jax.checkpoint_policies
    # Forward, forward again, backward.
    assert count_in_gradient(attend, policies.nothing_saveable, "pallas_call") == 3
    assert count_in_gradient(attend, policies.save_only_these_names(SAVED), "pallas_call") == 2


# --- steps and copies


def test_there_is_a_step_for_each_visible_pair_of_blocks_and_one_for_each_block_without_any():
    rows = random_packings(20)
    for i in range(20):
        query, start, end = (jnp.asarray(x[i]).reshape(-1, 10) for x in rows)
        index, count = jax.vmap(visible_blocks, (0, None, None))(query, start, end)
        wanted = [(block, key_block) for block in range(7) for key_block in np.asarray(index[block, : count[block]])]
        idle = [block for block in range(7) if not count[block]]
        steps, number = list_steps(query, start, end)
        assert number == len(wanted) + len(idle)
        steps = np.asarray(steps[:number])
        assert [(step >> 16, step & 0xFFFF) for step in steps[: len(wanted)]] == wanted
        assert [step >> 16 & 0x3FFF for step in steps[len(wanted) :]] == idle


def test_hidden_blocks_are_not_read():
    spans = packed([[("text", 16)], [("text", 16)]], und=48, gen=16)
    spans = Spans(*(x[None] for x in spans))
    q, k, v = random_qkv(spans)
    with_nan = [x.at[:, 16:].set(jnp.nan) for x in (k, v)]  # the second sample and the padding
    np.testing.assert_array_equal(attend(q, *with_nan, spans).out[:, :16], attend(q, k, v, spans).out[:, :16])


def test_every_dma_is_waited_for_before_it_is_used():
    """In an interpreter that copies as late as the kernel allows, from memory that is NaN until it is written."""
    spans = Spans(*(x[None] for x in packed([[("text", 30), ("vit", 20)], [("clean", 20), ("text", 9)]], 64, 32)))
    late = pltpu.InterpretParams(dma_execution_mode="on_wait", uninitialized_memory="nan")
    assert_matches_the_reference(functools.partial(attend, interpret=late), *random_qkv(spans, 2, 1), spans)


# --- compiled ahead of time, which needs only the libtpu wheel

BAGEL, VIT = (28, 4, 128), (16, 16, 72)


@pytest.fixture
def compiled(monkeypatch, compile_quickly):
    """Forward and backward compiled for four chips, with a row of ``tokens`` in bfloat16 per chip."""
    pytest.importorskip("libtpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

    def compile_for(topology, query_heads, groups, size, tokens):
        mesh = topologies.make_mesh(topologies.get_topology_desc(topology, "tpu"), (4,), ("data",))

        def array(*shape, dtype=jnp.bfloat16):
            return jax.ShapeDtypeStruct((4, tokens, *shape), dtype, sharding=NamedSharding(mesh, P("data")))

        def loss(q, k, v, spans):
            rows = P("data")
            attend = jax.shard_map(
                tpu.attend, mesh=mesh, in_specs=(rows, rows, rows, rows), out_specs=rows, check_vma=False
            )
            return sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in attend(q, k, v, spans))

        spans = Spans(*[array(dtype=jnp.int32)] * 3)
        arrays = array(query_heads, size), *[array(groups, size)] * 2
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays, spans).compile()

    return compile_for


@pytest.mark.parametrize("topology", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
@pytest.mark.parametrize("shape", [BAGEL, VIT], ids=["bagel", "vit"])
def test_it_compiles_for_tpus(compiled, topology, shape):
    assert compiled(topology, *shape, tokens=4000).as_text().count("tpu_custom_call") == 2


def test_memory_of_a_row_of_131072_tokens_is_linear_in_the_tokens(compiled):
    memory = compiled("v5e:2x2", 4, 2, 128, tokens=131_072).memory_analysis()
    assert memory.temp_size_in_bytes < 4 * memory.argument_size_in_bytes


def test_a_row_of_more_blocks_than_scalar_memory_holds_is_refused():
    row = jax.ShapeDtypeStruct((1, 2**19, 1, 128), jnp.bfloat16)
    spans = Spans(*[jax.ShapeDtypeStruct((1, 2**19), jnp.int32)] * 3)
    with pytest.raises(UserError, match="rows of 524288 queries and 524288 keys have too many blocks"):
        jax.eval_shape(functools.partial(tpu.attend, block_q=256), row, row, row, spans)
