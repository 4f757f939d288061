"""Encodes the images of a data set ahead of training: ``python -m irg_jax.encode_latents --data DIR --out DIR ...``.

Training then reads ``data.sources.NAME.latents``, and no step runs the VAE. The same command again goes on where it
stopped. Several processes, as in training, share the files of the data set.
"""

import dataclasses

import jax
from absl import flags

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.outputs import check_output_folder
from irg_jax.data.config import ImageSizeConfig, ProcessorConfig
from irg_jax.data.factory import make_processor
from irg_jax.data.latents.record import DTYPES
from irg_jax.data.sources.trajectories import local_folder, open_source
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.training.encode_ahead import Share, encode_split

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_DATA = flags.DEFINE_string("data", None, "data set of trajectories (format irgl)", required=True, flag_values=FLAGS)
_SPLIT = flags.DEFINE_string("split", "train", "of the data set", flag_values=FLAGS)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder of a run or of irg_jax.convert, with the VAE", required=True, flag_values=FLAGS
)
_OUT = flags.DEFINE_string("out", None, "folder of the latents of all splits", required=True, flag_values=FLAGS)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float16", list(DTYPES), "of the stored moments; float32 loses nothing, the others "
    "take half the space", flag_values=FLAGS
)  # fmt: skip
_MAX_SIZE = flags.DEFINE_integer(
    "max_size",
    None,
    "pixels of the long edge, data.vae_image.max_size; the checkpoint's if not given",
    flag_values=FLAGS,
)
_MIN_SIZE = flags.DEFINE_integer("min_size", None, "likewise, of the short edge", flag_values=FLAGS)
_RESIZE = flags.DEFINE_enum("resize", "exact", ["exact", "simd"], "data.resize of the training", flag_values=FLAGS)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 1, "images that a device encodes at once", lower_bound=1, flag_values=FLAGS
)


def main() -> None:
    """Encodes what is missing and prints the folder."""
    log_plainly()
    processes.initialize()
    out = local_folder(_OUT.value)
    check_output_folder(out, "--out")
    source = open_source(_DATA.value, _SPLIT.value)  # before the weights, which take longer
    stage = open_stage(_CHECKPOINT.value)
    given = {"max_size": _MAX_SIZE.value, "min_size": _MIN_SIZE.value}
    sizes = {**stage.config.data.vae_image, **{name: value for name, value in given.items() if value is not None}}
    config = ProcessorConfig(
        str(stage.folder / "tokenizer"),
        dataclass_from_mapping(ImageSizeConfig, sizes, "data.vae_image"),
        dataclass_from_mapping(ImageSizeConfig, stage.config.data.vit_image, "data.vit_image"),
    )
    processor = make_processor(config, stage.model.geometry)
    encode_split(
        source,
        _SPLIT.value,
        out,
        tokenizer=processor.tokenizer,
        transform=dataclasses.replace(processor.vae_transform, resize=_RESIZE.value),  # type: ignore[arg-type]
        vae=assets.open_vae(stage.model.vae, stage.folder),
        mesh=make_mesh(MeshConfig(), jax.local_devices()),
        dtype=_DTYPE.value,
        per_device=_BATCH_SIZE.value,
        share=Share(jax.process_index(), jax.process_count()),
    )
    processes.wait_for_all("latents")
    if processes.is_primary():
        print(out / _SPLIT.value)


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS, on_failure=processes.announce_failure)
