"""Random streams: no key is used twice."""

import itertools

import jax
import numpy as np
import pytest
from flax import nnx

from irg_jax.training.random_streams import STREAMS, stream_key


def test_no_two_streams_steps_or_seeds_share_a_key():
    keys = [stream_key(seed, stream, step) for seed, stream, step in itertools.product(range(2), STREAMS, range(50))]
    rngs = nnx.Rngs(params=stream_key(0, "weights"))
    keys += [rngs.params() for _ in range(50)]
    data = {tuple(np.asarray(jax.random.key_data(key))) for key in keys}
    assert len(data) == len(keys)


def test_an_unknown_stream_is_an_error():
    with pytest.raises(ValueError, match="'speed' is not one of weights, lora"):
        stream_key(0, "speed")
