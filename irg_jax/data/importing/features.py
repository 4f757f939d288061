"""The one schema of trajectories on disk, for every data set that is built here."""

import dataclasses

import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

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


class Serializer:
    """Turns trajectories into the bytes of their records; the same fields always give the same bytes."""

    def __init__(self) -> None:
        self._features = trajectory_features()
        self._serializer = ExampleSerializer(self._features.get_serialized_info())

    def __call__(self, trajectory: Trajectory) -> bytes:
        """The record of a trajectory."""
        encoded = self._features.encode_example(dataclasses.asdict(trajectory))
        # The fields are a map, whose order differs from process to process unless this is asked for.
        return self._serializer.get_tf_example(encoded).SerializeToString(deterministic=True)
