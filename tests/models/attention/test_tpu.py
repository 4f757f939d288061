"""The TPU kernels against the plain reference, in Pallas' interpreter; and compiled for TPUs that are not there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.errors import UserError
from irg_jax.models.attention import tpu
from irg_jax.models.attention.spans import SAVED, Spans, visits
from tests.models.attention.packings import (
    UND,
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

attend = functools.partial(tpu.attend, block_q=16, block_k=16, interpret=True)


@pytest.mark.parametrize(
    ("count", "query_heads", "groups", "block_q", "block_k"),
    [(300, 4, 2, 16, 16), (40, 6, 2, 8, 32), (40, 4, 4, 48, 24), (40, 4, 1, None, 1024)],
)
def test_it_equals_the_reference_on_random_packings(count, query_heads, groups, block_q, block_k):
    spans = random_packings(count)
    kernels = functools.partial(tpu.attend, block_q=block_q, block_k=block_k, interpret=True)
    assert_equals_the_reference(kernels, *heads(spans, query_heads, groups), spans)


def test_bfloat16_is_as_close_to_float32_as_the_reference_in_bfloat16():
    assert_as_close_as_the_reference_in_bfloat16(attend, random_packings(100))


def test_blocks_are_worked_on_piece_by_piece():
    """Blocks as large as on hardware: a step is several pieces, the last ones ragged."""
    rng = np.random.default_rng(0)
    position = np.arange(640, dtype=np.int32)[None]
    end = position + rng.integers(1, 700, position.shape, dtype=np.int32)
    spans = Spans(position, position, end)
    assert_equals_the_reference(functools.partial(tpu.attend, interpret=True), *heads(spans, 2, 1), spans)


def test_queries_may_be_others_than_the_keys():
    """One stream's queries alone, as where a row lies on several devices."""
    spans = random_packings(20)
    spans = spans._replace(query=spans.query[:, UND:])
    assert_equals_the_reference(attend, *heads(spans), spans)


def test_a_query_that_sees_nothing_gets_zero_and_passes_no_gradient_on():
    assert_a_blind_query_gets_zero_and_passes_no_gradient_on(attend)


def test_no_keys_and_no_queries_are_fine():
    assert_no_keys_and_no_queries_are_fine(attend)


def test_it_runs_in_scanned_and_rematerialised_layers():
    assert_it_runs_in_scanned_and_rematerialised_layers(attend)


def test_a_policy_can_keep_what_the_backward_pass_needs():
    policies = jax.checkpoint_policies
    # Forward, forward again, backward.
    assert count_in_gradient(attend, policies.nothing_saveable, "pallas_call") == 3
    assert count_in_gradient(attend, policies.save_only_these_names(SAVED), "pallas_call") == 2


# --- steps and copies


def test_there_is_a_step_for_each_visit_and_one_for_each_block_without_any():
    rows = random_packings(20)
    for i in range(20):
        query, start, end = (jnp.asarray(x[i]).reshape(-1, 10) for x in rows)
        index, count = jax.vmap(visits, (0, None, None))(query, start, end)
        wanted = [(block, other) for block in range(7) for other in np.asarray(index[block, : count[block]])]
        idle = [block for block in range(7) if not count[block]]
        steps, number = tpu.list_visits(query, start, end)
        assert number == len(wanted) + len(idle)
        steps = np.asarray(steps[:number])
        assert [(step >> 16, step & 0xFFFF) for step in steps[: len(wanted)]] == wanted
        assert [step >> 16 & 0x3FFF for step in steps[len(wanted) :]] == idle


def test_what_nobody_sees_is_not_even_read():
    spans = packed([[("text", 16)], [("text", 16)]], und=48, gen=16)
    spans = Spans(*(x[None] for x in spans))
    q, k, v = heads(spans)
    spoilt = [x.at[:, 16:].set(jnp.nan) for x in (k, v)]  # the second sample and the padding
    np.testing.assert_array_equal(attend(q, *spoilt, spans).out[:, :16], attend(q, k, v, spans).out[:, :16])


def test_no_copy_is_relied_on_before_it_has_arrived():
    """In the interpreter that copies as late as the kernel allows, from memory that is NaN until it is written."""
    spans = Spans(*(x[None] for x in packed([[("text", 30), ("vit", 20)], [("clean", 20), ("text", 9)]], 64, 32)))
    late = pltpu.InterpretParams(dma_execution_mode="on_wait", uninitialized_memory="nan")
    assert_equals_the_reference(functools.partial(attend, interpret=late), *heads(spans, 2, 1), spans)


# --- compiled for hardware, which needs no more than the libtpu wheel

BAGEL, VIT = (28, 4, 128), (16, 16, 72)


@pytest.fixture
def compiled(monkeypatch):
    """Forward and backward for a chip: a row of ``tokens`` in bfloat16 on each of four."""
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


def test_a_row_of_131072_tokens_takes_memory_linear_in_them(compiled):
    memory = compiled("v5e:2x2", 4, 2, 128, tokens=131_072).memory_analysis()
    assert memory.temp_size_in_bytes < 4 * memory.argument_size_in_bytes


def test_a_row_of_more_blocks_than_scalar_memory_has_room_for_is_refused():
    row = jax.ShapeDtypeStruct((1, 2**19, 1, 128), jnp.bfloat16)
    spans = Spans(*[jax.ShapeDtypeStruct((1, 2**19), jnp.int32)] * 3)
    with pytest.raises(UserError, match="rows of 524288 queries and 524288 keys have too many blocks"):
        jax.eval_shape(functools.partial(tpu.attend, block_q=256), row, row, row, spans)
