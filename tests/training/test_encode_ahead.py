"""Moments that were computed ahead: the same step as from pixels, and files that are always the same."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from irg_jax.core.errors import ConfigError, UserError
from irg_jax.data import factory, images, tokenizer
from irg_jax.data.config import BudgetConfig, DataConfig, DropoutConfig, ImageSizeConfig, MixtureEntry, SourceConfig
from irg_jax.data.conversation import Conversation, Image
from irg_jax.data.images import ImageTransform
from irg_jax.data.latents import header, source
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import RowBuilder
from irg_jax.data.pipeline import Batches
from irg_jax.data.processor import Processor
from irg_jax.data.sources.trajectories import TrajectorySource, open_source
from irg_jax.models.vae.latents import to_unit
from irg_jax.models.vae.moments import EncodedAhead, digest
from irg_jax.sharding.batches import abstract_batch, batch_shardings, local_rows, shard_batch
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import encode_ahead, losses
from irg_jax.training import optimizer as optimizers
from irg_jax.training.config import LossConfig
from irg_jax.training.encode_ahead import Share
from irg_jax.training.objective import InterleavedLoss
from irg_jax.training.state import FrozenParams, make_state_spec
from irg_jax.training.step import make_step
from irg_jax.worlds.shapes import dataset
from tests import released, tiny

ROWS = 4
FLUX = dataclasses.replace(tiny.CONFIG, vae=released.config().vae)
# Bounds between a step from pixels and one from float32 moments, relative. On an x86-64 CPU the pixel VAE's losses are
# equal to the bit, and its gradients to 8.8e-6 of the largest of each weight.
LOSS, GRADIENT = 1e-6, 1e-4


def processor(config):
    return Processor(tiny.processor().tokenizer, ImageTransform(32, 16, config.vae_stride), ImageTransform(32, 16, 8))


def vae_of(config):
    return tiny.VAE if config is tiny.CONFIG else released.vae()


def with_moments(conversation, config):
    """The conversation with the moments of its images, each encoded by itself."""
    vae, transform, parts = vae_of(config), processor(config).vae_transform, []
    for part in conversation.parts:
        if isinstance(part, Image):
            pixels = transform(images.decode(part.content, conversation.key))
            part = dataclasses.replace(part, moments=np.asarray(vae.moments(to_unit(pixels[None])))[0])
        parts.append(part)
    return Conversation(conversation.key, tuple(parts))


@functools.cache
def batch(config, ahead):
    words, rows = processor(config), []
    side = 32 // config.vae.downsample
    budgets = dataclasses.replace(
        tiny.BUDGETS, images=6, moments=(side, side, 2 * config.vae.channels) if ahead else None
    )
    for i in range(ROWS):
        builder = RowBuilder(words, config.geometry)
        sample = tiny.conversation(5 * i + 1, parts=4)
        parts = layout.segments(sample, words)
        builder.add(with_moments(sample, config) if ahead else sample, parts, dropped=0, mode=i % 2)
        rows.append(builder.row())
    made = layout.stack(rows, budgets)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), made) == layout.batch_spec(ROWS, budgets)
    return made


def one_step(config, ahead, axes=(), vae_encode="in_step"):
    """Adam's first moment, which is the gradient, and the metrics."""
    mesh = make_mesh(MeshConfig(**{"fsdp": 1} | dict(axes)), jax.devices()[: int(np.prod([n for _, n in axes]))])
    optim, execution = tiny.optim(), tiny.execution(vae_encode=vae_encode)
    schedule = optimizers.learning_rate(optim, 10)
    adamw = optimizers.make_optimizer(optim, schedule)
    spec = make_state_spec(config, execution, adamw, mesh, ShardingRules())
    loss = InterleavedLoss(LossConfig(ce_weight=1.0, mse_weight=1.0, timestep_shift=4.0), config, 2)
    step = make_step(
        spec, config, execution, loss=loss, optim=optim, optimizer=adamw, schedule=schedule, seed=0, mesh=mesh
    )
    found = vae_of(config)
    frozen = FrozenParams(EncodedAhead(config.vae, digest(found)) if ahead else found, nnx.State({}))
    rows = batch(config, ahead)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), rows)
    compiled = step.compile(spec.abstract, frozen, abstract_batch(shapes, mesh))
    placed = shard_batch(rows, batch_shardings(mesh), local_rows(mesh, ROWS, 0))
    state, metrics = jax.device_get(compiled(spec.init(0), frozen, placed))
    return state.opt[1].mu, metrics


def error(ours, wanted):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6) for a, b in pairs)


@pytest.mark.parametrize("config", [pytest.param(tiny.CONFIG, marks=pytest.mark.slow), FLUX], ids=["pixel", "flux"])
def test_a_step_from_moments_has_the_loss_and_gradients_of_one_from_pixels(config):
    wanted_gradients, wanted = one_step(config, ahead=False)
    gradients, metrics = one_step(config, ahead=True)
    assert wanted["tokens/mse"] > 0
    for key in ("loss", "ce", "mse", "grad_norm"):
        assert metrics[key] == pytest.approx(wanted[key], rel=LOSS, abs=0), key
    assert error(gradients, wanted_gradients) <= GRADIENT


@pytest.mark.slow  # test_step.py has the meshes and programs for steps from pixels
@pytest.mark.parametrize(
    ("axes", "vae_encode"), [((("fsdp", 4),), "in_step"), ((("fsdp", 2), ("context", 2)), "separate")]
)
def test_devices_and_programs_do_not_change_the_step_from_moments(axes, vae_encode):
    wanted, metrics = one_step(tiny.CONFIG, True)[1], one_step(tiny.CONFIG, True, axes, vae_encode)[1]
    assert metrics["loss"] == pytest.approx(wanted["loss"], rel=7e-7)


def test_without_noise_the_mean_is_taken():
    pixels, moments = (batch(FLUX, ahead) for ahead in (False, True))
    wanted = losses.latent_tokens(released.vae(), 2, pixels)
    found = losses.latent_tokens(EncodedAhead(FLUX.vae, ""), 2, moments)
    used = pixels["gen"]["position"] >= 0
    np.testing.assert_allclose(found[used], wanted[used], rtol=0, atol=2e-5)


# --- files


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set with two splits, and a tokenizer."""
    folder = tmp_path_factory.mktemp("world")
    dataset.build(folder / "data", seed=0, train=7, held_out=4)
    tokenizer.train(["a photo of one red circle"] * 9, 300, folder / "tokenizer")
    return folder


def two_files(world):
    """Both splits as one source, so that it has two files."""
    files = [file for split in ("train", "held_out") for file in open_source(world / "data", split).files]
    return TrajectorySource(world / "data", files)


def encode(world, out, data=None, **changes):
    arguments = dict(
        tokenizer=tokenizer.Tokenizer(world / "tokenizer"), transform=ImageTransform(32, 32, 8), vae=tiny.VAE,
        mesh=make_mesh(MeshConfig(), jax.devices()[:2]), dtype="float32",
    )  # fmt: skip
    encode_ahead.encode_split(data or two_files(world), "both", out, **(arguments | changes))
    return {path.name: path.read_bytes() for path in sorted((out / "both").glob("*.array_record"))}


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    return encode(world, tmp_path_factory.mktemp("whole"))


def test_every_image_has_the_moments_of_its_pixels(world, tmp_path):
    data = two_files(world)
    for dtype, tolerance in (("float32", 0), ("float16", 2.0**-11), ("bfloat16", 2.0**-8)):
        encode(world, tmp_path / dtype, dtype=dtype)
        store = source.open_latents(str(tmp_path / dtype), "both", {})
        for i in range(len(data)):
            trajectory, crc = data.read(i)
            found_crc, moments = store.read(i)
            assert found_crc == crc and set(moments) == {"image1", "image2"}
            for name, found in moments.items():
                pixels = to_unit(np.asarray(images.decode(getattr(trajectory, name), "")))[None]
                wanted = np.asarray(tiny.VAE.moments(pixels))[0]
                assert found.dtype == np.float32
                np.testing.assert_allclose(found[..., :48], wanted[..., :48], rtol=tolerance, atol=2e-7)
                assert np.isneginf(found[..., 48:]).all()


def test_float16_of_the_flux_moments_is_as_exact_as_its_bits(world, tmp_path):
    stored = {}
    for dtype in ("float32", "float16", "bfloat16"):
        encode(world, tmp_path / dtype, vae=released.vae(), transform=ImageTransform(32, 32, 16), dtype=dtype)
        stored[dtype] = source.open_latents(str(tmp_path / dtype), "both", {}).read(0)[1]["image1"]
    assert stored["float32"].shape == (4, 4, 32)
    for dtype, bits in (("float16", 11), ("bfloat16", 8)):
        np.testing.assert_allclose(stored[dtype], stored["float32"], rtol=2.0**-bits, atol=1e-7)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_killed_command_goes_on_with_what_is_missing(world, whole, tmp_path, monkeypatch, kept):
    write = encode_ahead.array_record.write

    def killed(path, records, count, options):
        if int(path.name[:5]) == kept:
            next(iter(records))
            path.with_name(f".{path.name}.1").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, records, count, options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encode_ahead.array_record, "write", killed)
        encode(world, tmp_path)
    assert len(list((tmp_path / "both").glob("*.array_record"))) == kept
    with pytest.raises(UserError, match=r"-of-00002.array_record: missing; the same irg_jax.encode_latents again"):
        source.open_latents(str(tmp_path), "both", {})
    before = [path.stat().st_mtime_ns for path in (tmp_path / "both").glob("*.array_record")]
    assert encode(world, tmp_path) == whole
    assert before == [path.stat().st_mtime_ns for path in sorted((tmp_path / "both").glob("*.array_record"))][:kept]


def test_processes_share_the_files(world, whole, tmp_path):
    second = encode(world, tmp_path, share=Share(1, 2))
    assert list(second) == ["00001-of-00002.array_record"]
    assert encode(world, tmp_path, share=Share(0, 2)) == whole


def test_a_folder_of_other_latents_is_refused(world, tmp_path):
    encode(world, tmp_path)
    other = dataclasses.replace(tiny.CONFIG.vae, downsample=2)
    for changes, what in (
        ({"vae": type(tiny.VAE)(other)}, "another VAE"),
        ({"transform": ImageTransform(16, 16, 8)}, "another image transform"),
        ({"dtype": "float16"}, "another dtype"),
        ({"data": open_source(world / "data", "train")}, "another data set"),
    ):
        with pytest.raises(UserError, match=rf"latents.json: is of {what} \(.*; choose another --out"):
            encode(world, tmp_path, **changes)


def test_another_scale_or_decoder_is_the_same_encoder():
    scaled = type(tiny.VAE)(dataclasses.replace(tiny.CONFIG.vae, scale=1.0))
    assert digest(scaled) == digest(tiny.VAE) != digest(released.vae())


# --- training


def data_config(world, latents="", **changes):
    values = dict(
        sources={"shapes": SourceConfig("irgl", str(world / "data"), latents=str(latents))},
        tokenizer=str(world / "tokenizer"), seed=0,
        mixture=tuple(MixtureEntry("shapes", f"{name}_full_learning", 1.0, True) for name in ("initial", "improving")),
        initial_target="draft", thinking1="plan", dropout=DropoutConfig(vae=0.3), batch_size=2, rows_per_pack=2,
        budgets=BudgetConfig(und=1200, gen=64, vit=64, images=4), max_sample_tokens=1300,
        vae_image=ImageSizeConfig(32, 32), vit_image=ImageSizeConfig(32, 32), on_error="stop", resize="exact",
        workers=0, threads=1, buffer_gb=0.1,
    )  # fmt: skip
    return DataConfig(**(values | changes))


def encode_train(world, out, **changes):
    data = open_source(world / "data", "train")
    arguments = dict(
        tokenizer=tokenizer.Tokenizer(world / "tokenizer"), transform=ImageTransform(32, 32, 8), vae=tiny.VAE,
        mesh=make_mesh(MeshConfig(), jax.devices()[:2]), dtype="float32",
    )  # fmt: skip
    encode_ahead.encode_split(data, "train", out, **(arguments | changes))


@pytest.mark.parametrize("workers", [0, 1])
def test_rows_with_latents_are_the_rows_with_pixels_but_for_their_images(world, tmp_path, workers):
    encode_train(world, tmp_path)
    geometry, vae = tiny.CONFIG.geometry, digest(tiny.VAE)
    pixels = factory.make_packed_rows(data_config(world), geometry)
    ahead = factory.make_packed_rows(data_config(world, tmp_path), geometry, vae=vae)
    assert ahead.fingerprint == pixels.fingerprint | {"latents": header.read(tmp_path / "train").digest}
    options = dict(batch_size=2, offsets=(0, 1), workers=workers)
    with Batches(pixels, 3, **options) as ours, Batches(ahead, 3, **options) as theirs:
        for one, other in zip(ours, theirs, strict=True):
            assert other["moments"].any() and "images" not in other
            for name in ("und", "gen", "vit", "sizes"):
                jax.tree.map(np.testing.assert_array_equal, one[name], other[name])
            used = one["gen"]["position"] >= 0
            wanted = losses.latent_tokens(tiny.VAE, 2, one)[used]
            found = losses.latent_tokens(EncodedAhead(tiny.CONFIG.vae, ""), 2, other)[used]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-7)  # 2.4e-7, the rounding of two programs


def test_an_image_is_decoded_only_for_the_vit(world, tmp_path, monkeypatch):
    encode_train(world, tmp_path)
    mixture = (MixtureEntry("shapes", "initial_full_learning", 1.0, True),)
    config = data_config(world, tmp_path, mixture=mixture)
    rows = factory.make_packed_rows(config, tiny.CONFIG.geometry, vae=digest(tiny.VAE))
    monkeypatch.setattr(images, "decode", None)
    assert rows[0].images[0].shape == (8, 8, 96)


@pytest.mark.parametrize(
    ("vae", "changes", "message"),
    [
        ("0" * 32, {}, "latents.json: is of another VAE"),
        (None, {"vae_image": ImageSizeConfig(32, 16)}, "is of another image transform"),
        (None, {"split": "held_out"}, "held_out/latents.json: missing; write the latents with"),
    ],
)
def test_latents_that_do_not_fit_are_refused(world, tmp_path, vae, changes, message):
    encode_train(world, tmp_path)
    split = changes.pop("split", "train") if "split" in changes else "train"
    with pytest.raises(UserError, match=message):
        config = data_config(world, tmp_path, **changes)
        factory.make_packed_rows(config, tiny.CONFIG.geometry, split, vae=vae or digest(tiny.VAE))


def test_latents_of_other_records_are_refused(world, tmp_path):
    encode_train(world, tmp_path / "latents")
    dataset.build(tmp_path / "data", seed=1, train=7, held_out=4)
    moved = {"shapes": SourceConfig("irgl", str(tmp_path / "data"), latents=str(tmp_path / "latents"))}
    with pytest.raises(UserError, match="is of another data set"):
        factory.make_packed_rows(data_config(world, sources=moved), tiny.CONFIG.geometry, vae=digest(tiny.VAE))


def test_all_data_sets_of_a_mixture_have_latents_or_none(world):
    both = {"a": SourceConfig("irgl", "a", latents="l"), "b": SourceConfig("irgl", "b")}
    mixture = tuple(MixtureEntry(name, "initial_full_learning", 1.0, False) for name in both)
    with pytest.raises(ConfigError, match="config.sources.b.latents: is empty, but other data sets"):
        data_config(world, sources=both, mixture=mixture)
    with pytest.raises(ConfigError, match="config.latents: format llava has none"):
        SourceConfig("llava", "a", latents="l")
