"""Rectified flow: times, interpolation between image and noise, and Euler steps back to the image."""

import jax
import numpy as np
import pytest

from irg_jax.models import flow


def test_the_timestep_shift_keeps_the_ends_and_moves_the_middle_towards_noise():
    np.testing.assert_allclose(flow.shift_time(np.array([0.0, 0.5, 1.0]), 4.0), [0, 0.8, 1])
    np.testing.assert_allclose(flow.shift_time(np.array([0.3]), 1.0), [0.3])


def test_training_times_are_the_shifted_sigmoid_of_a_normal():
    times = np.asarray(flow.sample_times(jax.random.key(0), (20_000,), 4.0))
    s = times / (4 - 3 * times)  # undo the shift
    normal = np.log(s / (1 - s))
    assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=0.03)
    assert times.min() > 0 and times.max() < 1


def test_interpolation_goes_from_image_to_noise():
    x0, noise = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(flow.interpolate(x0, noise, np.zeros(3)), x0)
    np.testing.assert_allclose(flow.interpolate(x0, noise, np.ones(3)), noise)


def test_euler_steps_with_the_true_velocity_end_at_the_image():
    x0, noise = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    x, times = noise, np.asarray(flow.time_points(50, 3.0))
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x = x + (t_next - t) * flow.velocity_target(x0, noise)
    np.testing.assert_allclose(x, x0, rtol=0, atol=5e-6)


def test_time_points_go_from_noise_to_image():
    times = np.asarray(flow.time_points(50, 3.0))
    assert len(times) == 50 and times[0] == 1 and times[-1] == 0
    assert (np.diff(times) < 0).all()
    s = 1 - 10 / 49
    assert times[10] == pytest.approx(3 * s / (1 + 2 * s))
