"""Imported trajectories as a TensorFlow Datasets (TFDS) data set in ArrayRecord format, without TensorFlow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from irg_jax.core.errors import UserError
from irg_jax.data.importing.features import trajectory_features


class Irgl(tfds.core.GeneratorBasedBuilder):
    """Interleaved reasoning trajectories that were imported from another format.

    TFDS describes the data set and reads it. It does not write it: above a gigabyte its writer needs TensorFlow and,
    where the order is kept, holds a whole split in memory; nor could it go on with a build that was killed.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=trajectory_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        raise UserError("irgl: is built by python -m irg_jax.build_data irgl --from KIND:PATH --out DIR")

    def _generate_examples(self) -> Iterator[Any]:
        raise AssertionError("there are no split generators")


def finish(folder: Path, shards: Mapping[str, Sequence[tuple[Path, int]]]) -> None:
    """Makes a data set of shards that are written: moves them into a folder, and describes them there.

    Args:
      folder: exists; may hold shards that an earlier call has moved.
      shards: of each split, in order, the file and its number of records.
    """
    infos = []
    for split, files in shards.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=Irgl.name, split=split, filetype_suffix="array_record"
        )
        size = 0
        for index, (file, _) in enumerate(files):
            target = Path(template.sharded_filepath(shard_index=index, num_shards=len(files)))
            if not target.exists():
                os.rename(file, target)
            size += target.stat().st_size
        lengths = [length for _, length in files]
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template))
    info = Irgl(data_dir=folder, file_format="array_record").info
    info.set_splits(tfds.core.SplitDict(infos))
    info.write_to_directory(folder)
