"""The GPU kernels against the plain reference: interpreted, lowered, and run where there is a GPU."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models.attention import gpu, plain
from irg_jax.models.attention.gpu import Tile, Tiles
from irg_jax.models.attention.spans import MIN_LSE, SAVED, Spans, dense_mask
from tests import tiny
from tests.models.attention.packings import (
    UND,
    assert_a_query_without_keys_has_zero_output_and_gradient,
    assert_bfloat16_is_as_close_as_the_reference,
    assert_empty_keys_and_queries_are_allowed,
    assert_it_works_under_scan_and_remat,
    assert_matches_the_reference,
    count_in_gradient,
    outputs_and_gradients,
    packed,
    random_packings,
    random_qkv,
)

SMALL = Tile(16, 16, 4, 1)


def interpreted(out=SMALL, dq=SMALL, dkv=SMALL):
    """``gpu.attend`` without a GPU, a few rows per call: the interpreter copies all of a call per program."""
    attend = functools.partial(gpu.attend, tiles=Tiles(out, dq, dkv), interpret=True)

    def run(q, k, v, spans):
        rows = next(n for n in (10, 5, 4, 3, 2, 1) if len(q) % n == 0)
        parts = jax.tree.map(lambda x: x.reshape(-1, rows, *x.shape[1:]), (q, k, v, Spans(*map(jnp.asarray, spans))))
        output = jax.lax.map(lambda x: attend(*x), parts)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), output)

    return run


@pytest.mark.parametrize(
    ("count", "query_heads", "groups", "tiles"),
    [
        (200, 4, 2, (SMALL, SMALL, SMALL)),
        (40, 6, 2, (Tile(32, 16, 4, 1), Tile(16, 32, 4, 1), Tile(32, 16, 4, 1))),
        (40, 4, 4, (Tile(16, 32, 4, 1), Tile(32, 16, 4, 1), Tile(16, 32, 4, 1))),
        (20, 7, 1, (Tile(128, 64, 8, 3), Tile(64, 128, 8, 3), Tile(256, 256, 8, 3))),
    ],
)
def test_it_matches_the_reference_on_random_packings(count, query_heads, groups, tiles):
    spans = random_packings(count)
    assert_matches_the_reference(interpreted(*tiles), *random_qkv(spans, query_heads, groups), spans)


def test_it_matches_the_reference_where_blocks_are_full():
    """Longer rows: those above have hardly any full block."""
    rng = np.random.default_rng(0)
    kinds = ("text", "vit", "clean", "noised")
    samples = [
        [[(kinds[i], int(rng.integers(20, 60))) for i in rng.permutation(4)] for _ in range(2)] for _ in range(6)
    ]
    spans = jax.tree.map(lambda *x: np.stack(x), *(packed(row, und=160, gen=150) for row in samples))
    blocked = gpu._block_spans(jax.tree.map(jnp.asarray, spans), SMALL)
    assert (gpu._block_mask(blocked) == gpu._FULL).sum() > 6 * 20
    assert_matches_the_reference(interpreted(), *random_qkv(spans), spans)


@pytest.mark.parametrize("size", [24, 72])
def test_heads_are_cut_into_powers_of_two(size):
    spans = random_packings(4)
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(*spans.query.shape, 2, size)), jnp.float32) for _ in range(3))
    assert_matches_the_reference(interpreted(), q, k, v, spans)


def test_bfloat16_is_as_close_to_float32_as_the_reference_in_bfloat16():
    assert_bfloat16_is_as_close_as_the_reference(interpreted(), random_packings(40))


def test_it_matches_the_reference_on_rows_of_the_layout():
    batch = tiny.batch(*(tiny.row([tiny.conversation(i, 3), tiny.conversation(i + 9, 3)]) for i in range(4)))
    und, gen, vit = (batch[name] for name in ("und", "gen", "vit"))
    names = ("position", "start", "end")
    decoder = Spans(*(np.concatenate([und[name], gen[name]], axis=1) for name in names))
    for spans, block in ((decoder, 64), (Spans(*(vit[name] for name in names)), 16)):
        assert_matches_the_reference(interpreted(*[Tile(block, block, 4, 1)] * 3), *random_qkv(spans), spans)


@pytest.mark.parametrize("part", [np.s_[UND:], np.s_[:1]], ids=["one stream", "one token"])
def test_queries_may_differ_from_the_keys(part):
    spans = random_packings(20)
    spans = spans._replace(query=spans.query[:, part])
    assert_matches_the_reference(interpreted(Tile(64, 16, 4, 1)), *random_qkv(spans), spans)


def test_a_query_without_keys_has_zero_output_and_gradient():
    assert_a_query_without_keys_has_zero_output_and_gradient(interpreted())


def test_empty_keys_and_queries_are_allowed():
    assert_empty_keys_and_queries_are_allowed(gpu.attend)


def test_it_works_under_scan_and_remat():
    assert_it_works_under_scan_and_remat(interpreted())


def test_a_remat_policy_can_save_what_the_backward_pass_needs():
    policies = jax.checkpoint_policies
    # Forward, forward again, the gradients of q, and of k and v.
    assert count_in_gradient(gpu.attend, policies.nothing_saveable, "pallas_call") == 4
    assert count_in_gradient(gpu.attend, policies.save_only_these_names(SAVED), "pallas_call") == 3


# --- which blocks are skipped, and which need no mask


def test_hidden_blocks_are_not_read():
    spans = packed([[("text", 16)], [("text", 16)]], und=48, gen=16)
    spans = Spans(*(x[None] for x in spans))
    qkv = random_qkv(spans)
    with_nan = [x.at[:, 16:].set(jnp.nan) for x in qkv]  # the second sample and the padding
    both = outputs_and_gradients(interpreted(), *with_nan, spans), outputs_and_gradients(plain.attend, *qkv, spans)
    for got, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(got[:, :16], wanted[:, :16], rtol=0, atol=5e-6)


def test_exactly_the_full_blocks_need_no_mask():
    spans = jax.tree.map(jnp.asarray, random_packings(50))
    mask = gpu._block_mask(gpu._block_spans(spans, Tile(2, 2, 4, 1)))
    seen = np.asarray(dense_mask(spans)).reshape(50, 35, 2, 35, 2)
    np.testing.assert_array_equal(mask == gpu._FULL, seen.all((2, 4)))
    assert not (seen.any((2, 4)) & (mask == gpu._EMPTY)).any()
    schedule = gpu._schedule(mask)
    assert (np.diff(schedule.total) <= 0).all() and (np.sort(schedule.outer) == np.arange(35)).all()


# --- on GPUs


@pytest.mark.skipif(jax.__version_info__ > (0, 10, 2), reason="newer releases compile kernels as they lower them")
@pytest.mark.parametrize(
    ("length", "query_heads", "groups", "size", "dtype"),
    [(40_960, 28, 4, 128, jnp.bfloat16), (4_900, 16, 16, 72, jnp.bfloat16), (1_000, 28, 4, 128, jnp.float32)],
    ids=["decoder", "vit", "float32"],
)
def test_it_lowers_for_cuda(length, query_heads, groups, size, dtype):
    def run(q, k, v, spans):
        out, pull = jax.vjp(lambda *x: gpu.attend(*x, spans), q, k, v)
        return pull(out)

    q, kv = (jax.ShapeDtypeStruct((1, length, n, size), dtype) for n in (query_heads, groups))
    spans = Spans(*[jax.ShapeDtypeStruct((1, length), jnp.int32)] * 3)
    triton = "__gpu$xla.gpu.triton"
    checks = [jax.export.DisabledSafetyCheck.custom_call(triton)]
    exported = jax.export.export(jax.jit(run), platforms=["cuda"], disabled_checks=checks)(q, kv, kv, spans)
    assert exported.mlir_module().count(f"@{triton}(") == 3


@pytest.mark.skipif(not os.path.exists("/dev/nvidiactl"), reason="no GPU")
def test_it_matches_the_reference_on_a_gpu():
    """In its own process, since all other tests run on the CPU."""
    code = f"from {__name__} import compare_on_this_device; compare_on_this_device()"
    env = os.environ | {"JAX_PLATFORMS": "cuda"}
    root = pathlib.Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def compare_on_this_device():
    """Two samples with images of up to 1,024 patches in a row that is not a multiple of a block, for both widths."""
    sample = [("text", 60), ("clean", 256), ("vit", 324), ("text", 250), ("noised", 256)]
    row = packed([sample, [("text", 100), ("vit", 500), ("noised", 1024)]], und=1800, gen=1600)
    spans = Spans(*(jnp.asarray(x)[None] for x in row))
    rng = np.random.default_rng(0)
    for query_heads, groups, size in ((28, 4, 128), (16, 16, 72)):
        shapes = ((*spans.query.shape, n, size) for n in (query_heads, groups, groups))
        given = [jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in shapes]
        with jax.default_matmul_precision("highest"):
            exact = outputs_and_gradients(plain.attend, *(x.astype(jnp.float32) for x in given), spans)
        for dtype, tolerance in ((jnp.bfloat16, 1e-2), (jnp.float32, 1e-5)):
            got = outputs_and_gradients(gpu.attend, *(x.astype(dtype) for x in given), spans)
            for name, a, b in zip(("out", "lse", "q", "k", "v"), got, exact, strict=True):
                error = np.linalg.norm(a - b) / np.linalg.norm(np.where(b > MIN_LSE, b, 0))
                assert error < tolerance, f"{name} in {dtype.__name__}, {size} wide: {error:.1e}"
