"""A stochastic step in the place of Euler's: log-probabilities of what was sampled, as reinforcement learning needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.models import flow
from irg_jax.sampling.guidance import guide
from tests.sampling.test_two_turn import CONFIG, PROMPTS, Reference, sampler

SIGMA = 0.4
THINKING = "a red"


def distribution(x, velocity, t, t_next):
    """Mean and standard deviation of the next point: the flow as an SDE with the same marginals (arXiv 2505.05470)."""
    drift = velocity + SIGMA**2 / (2 * t) * (x + (1 - t) * velocity)
    return x + drift * (t_next - t), SIGMA * jnp.sqrt(t - t_next)


def log_prob(x_next, mean, std):
    return jax.scipy.stats.norm.logpdf(x_next, mean, std).sum(axis=(-2, -1))


def sde_step(x, velocity, t, t_next, keys):
    mean, std = distribution(x, velocity, t, t_next)
    x_next = mean + std * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
    return x_next, {"x": x, "x_next": x_next, "log_prob": log_prob(x_next, mean, std)}


@functools.cache
def turn(index, seed):
    given = dict(seed=seed, indices=[index], turns=1, thinking=[[THINKING]])
    return sampler(CONFIG, flow_step=sde_step)([PROMPTS[0]], **given)[0].turns[0]


def test_log_probabilities_are_those_of_the_model_without_a_cache():
    reference = Reference(seed=3, index=0)
    system, prompt, thinking = (
        reference.text(reference.encode(text)) for text in (CONFIG.system_prompt, PROMPTS[0], THINKING)
    )
    times = flow.time_points(CONFIG.time_points, CONFIG.timestep_shift)
    points, recomputed = turn(index=0, seed=3).flow, []
    for x, x_next, t, t_next in zip(points["x"], points["x_next"], times[:-1], times[1:], strict=True):
        v = reference.velocity([system, prompt, thinking], x, t)
        if CONFIG.turn1.active(t):
            v = guide(CONFIG.turn1, v[None], reference.velocity([system], x, t)[None], None)[0]
        recomputed.append(log_prob(x_next, *distribution(x, v, t, t_next)))
    np.testing.assert_allclose(points["log_prob"], recomputed, rtol=1.3e-6)  # 1.3e-7


def test_steps_are_in_order_over_guided_and_unguided_ones_and_end_at_the_latents():
    points = turn(index=0, seed=3).flow
    np.testing.assert_array_equal(points["x"][1:], points["x_next"][:-1])
    np.testing.assert_array_equal(points["x_next"][-1], turn(index=0, seed=3).latents)


def test_chance_depends_on_seed_and_index_alone():
    for other in (turn(index=0, seed=4), turn(index=1, seed=3)):
        assert (other.latents != turn(index=0, seed=3).latents).any()
    again = turn.__wrapped__(index=0, seed=3)
    np.testing.assert_array_equal(again.latents, turn(index=0, seed=3).latents)
