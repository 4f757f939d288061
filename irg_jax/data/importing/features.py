"""The one schema of trajectories on disk, for every data set that is built here."""

import dataclasses

import tensorflow_datasets as tfds

from irg_jax.data.trajectory import IMAGES, Trajectory


def trajectory_features() -> tfds.features.FeaturesDict:
    """A feature for every field of a Trajectory; a field that is missing is an empty text or no bytes.

    Images are given and stored as encoded bytes: these pass through an ``Image`` feature unchanged and without
    TensorFlow, whereas arrays would need it.
    """
    return tfds.features.FeaturesDict(
        {
            field.name: tfds.features.Image(encoding_format=None) if field.name in IMAGES else tfds.features.Text()
            for field in dataclasses.fields(Trajectory)
        }
    )
