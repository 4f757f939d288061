"""The gradients that are written for CPUs are those of autodiff, in every layer that has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.models import cpu_gradients, layers
from irg_jax.models.lora import LoRAConfig, LoRALinear, wrap
from irg_jax.models.transformer import UnifiedTransformer
from tests import tiny

RMS_NORMS = (cpu_gradients.rms_norm, layers.rms_norm)
SHAPES = [(5, 8), (1, 7, 8), (2, 3, 4, 8), (2, 0, 8)]


def gradients(f, *inputs):
    """Gradients of a loss that weights every element of the result differently."""

    @jax.jit
    def run(*inputs):
        out, pull = jax.vjp(f, *inputs)
        return pull(jax.random.normal(jax.random.key(9), out.shape, out.dtype))

    return run(*inputs)


def assert_close(ours, wanted, atol):
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_the_gradient_of_a_matmul(shape, dtype, atol):
    x = jax.random.normal(jax.random.key(0), shape, dtype)
    w = jax.random.normal(jax.random.key(1), (8, 6), dtype)
    assert_close(gradients(cpu_gradients.matmul, x, w), gradients(layers.matmul, x, w), atol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_the_gradient_of_rms_norm(shape, dtype, atol):
    x = 3 * jax.random.normal(jax.random.key(0), shape, dtype)
    scale = jax.random.normal(jax.random.key(1), (8,), dtype)
    ours, wanted = (gradients(lambda x, s, f=f: f(x, s, 1e-6), x, scale) for f in RMS_NORMS)
    assert_close(ours, wanted, atol)


def test_rms_norm_of_zeros_has_a_finite_gradient():
    x_grad, scale_grad = gradients(lambda x, s: cpu_gradients.rms_norm(x, s, 1e-6), jnp.zeros((2, 8)), jnp.ones(8))
    assert jnp.isfinite(x_grad).all() and not scale_grad.any()


def test_every_layer_of_a_model_for_cpus_has_them_and_a_lora_wrapper_keeps_them():
    def make():
        model = UnifiedTransformer(tiny.CONFIG, tiny.execution(gradients="cpu"), rngs=nnx.Rngs(params=0))
        return wrap(model, LoRAConfig(rank=2, alpha=2.0, weights=r"blocks\.und\.[qv]"), rngs=nnx.Rngs(params=1))

    modules = [module for _, module in nnx.iter_modules(nnx.eval_shape(make))]
    linears = [module for module in modules if isinstance(module, layers.Linear)]
    assert sum(isinstance(module, LoRALinear) for module in linears) == 2
    assert {module.matmul for module in linears} == {cpu_gradients.matmul}
    assert {x.rms_norm for x in modules if isinstance(x, layers.RMSNorm)} == {cpu_gradients.rms_norm}
