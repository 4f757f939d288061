"""Batches of pictures in memory."""

import itertools

import numpy as np

from irg_jax.training.encoder_alone import all_in_batches, random_batches


def test_every_picture_is_seen_as_often_as_every_other_in_an_order_of_the_seed():
    def first(seed, batches):
        return np.concatenate(list(itertools.islice(random_batches(10, 4, seed), batches)))

    seen = first(0, 5)
    assert np.bincount(seen).tolist() == [2] * 10
    assert seen.tolist() == first(0, 5).tolist() != first(1, 5).tolist()
    assert len(next(random_batches(3, 8, 0))) == 8, "also where there are fewer than in a batch"


def test_the_last_batch_goes_on_with_the_first_pictures():
    assert [batch.tolist() for batch in all_in_batches(5, 2)] == [[0, 1], [2, 3], [4, 0]]
    assert [batch.tolist() for batch in all_in_batches(2, 3)] == [[0, 1, 0]]
