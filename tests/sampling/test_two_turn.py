"""The sampler against a reference without a KV cache: a whole packed sequence for every token and every velocity."""

import dataclasses
import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform, encode_png
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import Budgets, RowBuilder
from irg_jax.data.processor import Processor
from irg_jax.models import flow
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ExecutionConfig
from irg_jax.models.transformer import Stream, abstract_model
from irg_jax.models.vae.latents import to_bytes, to_unit, unpatchify
from irg_jax.sampling import two_turn
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.flow_step import FlowStep, euler_step
from irg_jax.sampling.guidance import Guidance, guide
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from tests import tiny

CONFIG = SamplingConfig(
    system_prompt="think, then draw",
    image_size=(32, 32),
    prompt_bucket=8,
    max_prompt=32,
    max_thinking=(7, 9),
    temperature=0.0,
    time_points=4,
    timestep_shift=3.0,
    turn1=Guidance(text_scale=4.0, image_scale=1.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0),
    turn2=Guidance(text_scale=3.0, image_scale=2.0, interval=(0.0, 1.0), renorm="text_channel", renorm_min=0.0),
)
AUTO = ExecutionConfig().on("cpu").attention
PROMPTS = ["a red circle", "two blue squares above a green bench"]


@functools.cache
def sampler(
    config: SamplingConfig = CONFIG,
    *,
    attention: str = "plain",
    mesh: MeshConfig | None = None,
    flow_step: FlowStep = euler_step,
) -> Sampler:
    """A sampler on one device, or on all of them with ``mesh``."""
    return Sampler(
        abstract_model(tiny.CONFIG, tiny.execution(attention=attention))[0],
        tiny.weights(),
        vae=tiny.VAE,
        processor=tiny.processor(),
        config=config,
        origin=Origin("here", 1),
        mesh=make_mesh(mesh or MeshConfig(), None if mesh else jax.devices()[:1]),
        flow_step=flow_step,
    )


@functools.partial(jax.jit, static_argnames="has_noised")
def hidden_states(batch, noised, t, has_noised):
    model = tiny.model()
    und, gen, vit = batch["und"], batch["gen"], batch["vit"]
    x = tiny.latents(batch)
    if has_noised:
        # The noised image comes last and fills up the row's generation tokens in order.
        x = jnp.where(gen["noised"][..., None], noised[jnp.cumsum(gen["noised"], axis=1) - 1], x)
    features = model.vit_features(
        to_unit(vit["patches"]), vit["pos_id"], Spans(vit["position"], vit["start"], vit["end"])
    )
    und_x = model.embed_und(und["ids"], und["vit"], features)
    gen_x = model.embed_gen(x, jnp.where(gen["noised"], t, 0.0), gen["pos_id"])
    names = ("position", "rope", "start", "end")
    und_h, gen_h, _ = model(Stream(und_x, *(und[n] for n in names)), Stream(gen_x, *(gen[n] for n in names)))
    return und_h, gen_h


class Reference:
    """Two turns as in docs/method.md: each context is a packed sequence of its own, run whole each time."""

    def __init__(self, seed: int, index: int, size: tuple[int, int] = CONFIG.image_size):
        self.model, processor = tiny.model(), tiny.processor()
        self.size, self.rows, self.columns = size, size[0] // 8, size[1] // 8
        self.vae_transform = processor.vae_transform
        # A random model decodes ids that are not text; here a text is its ids, written as numbers.
        tokenizer = types.SimpleNamespace(**vars(processor.tokenizer), encode=lambda s: [int(i) for i in s.split()])
        self.encode, self.tokenizer = processor.tokenizer.encode, tokenizer
        # Noised images have any size, so clean ones are resized before they are packed.
        self.processor = Processor(tokenizer, ImageTransform(32, 8, 8), processor.vit_transform)
        self.key = jax.random.fold_in(jax.random.key(seed), index)

    def text(self, ids) -> Text:
        return Text(" ".join(str(int(i)) for i in ids), need_loss=True)

    def forward(self, parts, noised=None, t=0.0):
        """Hidden states of both streams; ``noised`` replaces the latents of the last image."""
        budgets = Budgets(und=160, gen=64, vit=32, images=4, image_size=(32, 32), vit_patch=192)
        builder = RowBuilder(self.processor, tiny.CONFIG.geometry)
        conversation = Conversation("reference", tuple(parts))
        builder.add(conversation, layout.segments(conversation, self.processor), 0, 0)
        batch = layout.stack([builder.row()], budgets)
        blank = jnp.zeros((self.rows * self.columns, tiny.CONFIG.token_channels))
        latents = blank if noised is None else noised
        und_h, gen_h = hidden_states(batch, latents, t, has_noised=noised is not None)
        return und_h[0], gen_h[0], batch["und"], batch["gen"]

    def decode(self, parts, maximum):
        """Greedy decoding: the whole sequence again for each token."""
        ids = []
        while len(ids) < maximum - 2:
            hidden, _, und, _ = self.forward([*parts, self.text(ids)])
            last = int((und["position"][0] >= 0).sum()) - 2  # before eos, which is not decoded yet
            following = int(jnp.argmax(self.model.logits(hidden[None])[0, last]))
            if following == self.tokenizer.eos:
                break
            ids.append(following)
        return ids

    def velocity(self, parts, x, t):
        blank = encode_png(np.zeros((*self.size, 3), np.uint8))
        _, hidden, _, gen = self.forward([*parts, Image(blank, need_loss=True)], x, t)
        return self.model.velocity(hidden[None])[0][gen["noised"][0]]

    def sample_latents(self, guidance, turn, full, no_text, no_image):
        shape = (self.rows * self.columns, tiny.CONFIG.token_channels)
        x = jax.random.normal(jax.random.fold_in(self.key, 2 * turn + 1), shape)
        times = flow.time_points(CONFIG.time_points, CONFIG.timestep_shift)
        for t, following in zip(times[:-1], times[1:], strict=True):
            v = self.velocity(full, x, t)
            if guidance.active(t):
                others = [self.velocity(c, x, t)[None] if c is not None else None for c in (no_text, no_image)]
                v = guide(guidance, v[None], *others)[0]
            x = x + (following - t) * v
        return x

    def image(self, latents):
        latents = unpatchify(latents.reshape(1, self.rows, self.columns, -1), tiny.CONFIG.latent_patch)
        return np.asarray(to_bytes(tiny.VAE.decode(latents)))[0]

    def sample_image(self, *args):
        return self.image(self.sample_latents(*args))

    def seen(self, image):
        """An image as turn 2 sees it, through the VAE and through the ViT, each after its own transform."""
        pixels = self.vae_transform(PIL.Image.fromarray(image))
        return Image(encode_png(pixels), need_vae=True), Image(encode_png(image), need_vit=True)

    def __call__(self, prompt, image1):
        """Thinking and latents of both turns. Turn 2 sees ``image1``: ours may be rounded to another level."""
        system, prompt = (self.text(self.encode(s)) for s in (CONFIG.system_prompt, prompt))
        ids1 = self.decode([system, prompt], CONFIG.max_thinking[0])
        first = [system, prompt, self.text(ids1)]
        latents1 = self.sample_latents(CONFIG.turn1, 0, first, [system], None)
        with_image = [*first, *self.seen(image1)]
        ids2 = self.decode(with_image, CONFIG.max_thinking[1])
        thinking2 = self.text(ids2)
        latents2 = self.sample_latents(CONFIG.turn2, 1, [*with_image, thinking2], with_image, [*first, thinking2])
        return (ids1, latents1), (ids2, latents2)


def assert_matches_the_reference(result, reference):
    decode = tiny.processor().tokenizer.decode
    for turn, (ids, latents) in zip(result.turns, reference(result.prompt, result.turns[0].image), strict=True):
        assert turn.thinking == decode(ids)
        np.testing.assert_allclose(turn.latents, latents, rtol=0, atol=6e-5)
        assert np.abs(turn.image.astype(int) - reference.image(latents)).max() <= 1


@pytest.mark.parametrize("index", [0, 1])
def test_matches_the_reference_under_every_guidance_branch(index):
    assert_matches_the_reference(sampler()(PROMPTS, seed=5)[index], Reference(5, index))


@pytest.mark.parametrize(
    "size",
    [pytest.param((16, 32), marks=pytest.mark.slow), pytest.param((32, 24), marks=pytest.mark.slow), (8, 24)],
    ids=str,
)
def test_images_that_are_not_square_match_the_reference(size):
    """Of the last size, 8 x 24 pixels, the VAE's transform makes 8 x 32: turn 2 sees more tokens than were sampled."""
    assert tiny.processor().vae_transform.size(24, 8) == (32, 8)
    result = sampler(dataclasses.replace(CONFIG, image_size=size))([PROMPTS[0]], seed=5)[0]
    assert result.turns[1].image.shape == (*size, 3)
    assert_matches_the_reference(result, Reference(5, 0, size))


@pytest.mark.parametrize(
    ("mesh", "turns"), [(MeshConfig(fsdp=8), 1), (MeshConfig(data=2, fsdp=2, tensor=2), 2)], ids=["fsdp", "all axes"]
)
def test_a_mesh_gives_the_trajectories_of_one_device(mesh, turns):
    """Sums over shards round in another order, so that a pixel may fall on the other side of a rounding."""
    many = sampler(attention=AUTO, mesh=mesh)
    found = many(PROMPTS, seed=5, turns=turns)
    for a, b in zip(sampler()(PROMPTS, seed=5), found, strict=True):
        assert len(b.turns) == turns
        for one, other in zip(a.turns, b.turns, strict=False):
            assert other.thinking == one.thinking
            assert np.abs(other.image.astype(int) - one.image).max() <= 1
            np.testing.assert_allclose(other.latents, one.latents, atol=1e-3)


def test_batches_that_fit_the_same_devices_share_a_program():
    many = sampler(attention=AUTO, mesh=MeshConfig(fsdp=8))
    two = many(PROMPTS, seed=5, turns=1)
    compiled = two_turn.first_turn._cache_size()
    three = many([*PROMPTS, PROMPTS[1]], seed=5, turns=1, indices=[0, 1, 1])
    assert two_turn.first_turn._cache_size() == compiled
    np.testing.assert_array_equal(three[2].turns[0].latents, two[1].turns[0].latents)


def test_a_trajectory_does_not_depend_on_its_batch():
    both = sampler()(PROMPTS, seed=1)
    alone = sampler()([PROMPTS[1]], seed=1, indices=[1])[0]
    for a, b in zip(both[1].turns, alone.turns, strict=True):
        assert a.thinking == b.thinking
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


def test_the_seed_determines_images_and_one_turn_equals_the_first_of_two():
    two, again, other = (sampler()(PROMPTS, seed=seed) for seed in (1, 1, 2))
    one = sampler()(PROMPTS, seed=1, turns=1)
    for i in range(2):
        assert (two[i].turns[1].image == again[i].turns[1].image).all()
        assert (two[i].turns[0].image != other[i].turns[0].image).any()
        assert len(one[i].turns) == 1
        assert (one[i].turns[0].image == two[i].turns[0].image).all()


def test_thinking_that_does_not_end_is_truncated_and_not_complete():
    for turn, maximum in zip(sampler()(PROMPTS, seed=1)[0].turns, CONFIG.max_thinking, strict=True):
        assert not turn.complete
        assert len(tiny.processor().tokenizer.encode(turn.thinking)) >= 1
        assert maximum > 2


def test_thinking_at_a_temperature_depends_on_the_seed():
    warm = sampler(dataclasses.replace(CONFIG, temperature=5.0))
    a, again, b = (warm(PROMPTS, seed=seed, turns=1)[0].turns[0].thinking for seed in (1, 1, 2))
    assert a == again
    assert a != b


def test_more_steps_are_those_of_a_config_that_has_them():
    brief = sampler(dataclasses.replace(CONFIG, time_points=2))
    longer = brief.with_steps(3)
    assert longer is brief.with_steps(3)
    wanted = sampler(dataclasses.replace(CONFIG, time_points=4))(PROMPTS[:1], turns=1)[0].turns[0]
    found = longer(PROMPTS[:1], turns=1)[0].turns[0]
    np.testing.assert_array_equal(found.latents, wanted.latents)
    assert not np.array_equal(found.latents, brief(PROMPTS[:1], turns=1)[0].turns[0].latents)


def test_programs_are_compiled_once_per_batch_size_and_bucket():
    brief = sampler(dataclasses.replace(CONFIG, time_points=2))
    counts = []
    for prompts in (["a red circle"], ["a blue square"], [PROMPTS[1]], ["two red circles above a green bench"]):
        before = two_turn.first_turn._cache_size()
        brief(prompts, turns=1, thinking=[["a red"]])
        counts.append(two_turn.first_turn._cache_size() - before)
    assert counts == [1, 0, 1, 0]


def test_given_thinking_and_noise_replace_sampled_ones():
    result = sampler()(PROMPTS, seed=1)[0]
    thinking = [["a red"], ["a bench"]]
    noise = [np.zeros((1, 16, tiny.CONFIG.token_channels), np.float32)] * 2
    given, again = (sampler()([PROMPTS[0]], seed=seed, thinking=thinking, noise=noise)[0] for seed in (1, 2))
    assert [turn.thinking for turn in given.turns] == ["a red", "a bench"]
    assert all((a.image == b.image).all() for a, b in zip(given.turns, again.turns, strict=True))  # nothing is random
    assert (given.turns[0].image != result.turns[0].image).any()
    with pytest.raises(UserError, match=r"sampling.max_thinking\[0\] 7"):
        sampler()([PROMPTS[0]], thinking=[["a red bench " * 4]])


def test_a_reflection_on_a_given_first_turn_is_the_thinking_2_of_two_turns():
    """With the random numbers of two-turn sampling, and whatever else is in the batch."""
    sample, thinking1 = sampler(dataclasses.replace(CONFIG, temperature=5.0)), ["a red", "a bench"]
    both = sample(PROMPTS, seed=5, thinking=[thinking1])
    images = [result.turns[0].image for result in both]
    reflections = sample.reflect(PROMPTS, thinking1, images, seed=5)
    assert reflections == [(result.turns[1].thinking, result.turns[1].complete) for result in both]
    assert sample.reflect(PROMPTS[1:], thinking1[1:], images[1:], seed=5, indices=[1]) == reflections[1:]
    assert sample.reflect(PROMPTS, thinking1, images, seed=6) != reflections


def test_an_improvement_of_a_given_first_turn_is_the_image_2_of_two_turns():
    sample, thinking = sampler(CONFIG), [["a red", "a bench"], ["blue", "a cat"]]
    both = sample(PROMPTS, seed=5, thinking=thinking)
    images = [result.turns[0].image for result in both]
    improved = sample.improve(PROMPTS, thinking[0], images, thinking[1], seed=5)
    np.testing.assert_array_equal(improved, [result.turns[1].image for result in both])
    alone = sample.improve(PROMPTS[1:], thinking[0][1:], images[1:], thinking[1][1:], seed=5, indices=[1])
    assert np.abs(alone[0].astype(int) - improved[1]).max() <= 1
    assert (sample.improve(PROMPTS, thinking[0], images, thinking[1][::-1], seed=5) != improved).any()
    assert (sample.improve(PROMPTS, thinking[0], images[::-1], thinking[1], seed=5) != improved).any()


def test_a_reflection_depends_on_the_prompt_the_plan_and_the_image():
    first = PROMPTS[:1], ["a red"], [np.full((32, 32, 3), 255, np.uint8)]
    reflection = sampler().reflect(*first)
    assert sampler().reflect(*first, seed=1) == reflection  # greedily, nothing is random
    for i, other in enumerate(([PROMPTS[1]], ["above"], [np.zeros((32, 32, 3), np.uint8)])):
        assert sampler().reflect(*first[:i], other, *first[i + 1 :]) != reflection


def test_reflections_are_compiled_once_per_batch_size():
    sample = sampler(dataclasses.replace(CONFIG, time_points=2))
    image = np.zeros((32, 32, 3), np.uint8)
    before = two_turn.reflect._cache_size()
    for prompt, thinking1 in zip(["a red circle", "a blue square"], ["a red", "a green bench"], strict=True):
        sample.reflect([prompt], [thinking1], [image])
    assert two_turn.reflect._cache_size() == before + 1


def test_a_first_turn_fits_where_two_turn_sampling_could_have_written_it():
    assert sampler().fits(PROMPTS[0], "a red")
    assert not sampler().fits("circle " * 40, "a red")
    assert not sampler().fits(PROMPTS[0], "a red bench " * 4)


def test_an_image_that_could_not_have_been_sampled_is_refused():
    with pytest.raises(UserError, match=r"image 1 has the shape \(16, 32, 3\), sampled ones have \(32, 32, 3\)"):
        sampler().reflect(PROMPTS, ["a", "a"], [np.zeros((side, 32, 3), np.uint8) for side in (32, 16)])


@pytest.mark.parametrize(
    ("size", "nearest"), [((64, 64), (32, 32)), ((32, 40), (32, 32)), ((20, 32), (16, 32)), ((0, 8), (8, 8))], ids=str
)
def test_an_image_size_without_positions_is_refused_with_the_nearest_that_has_them(size, nearest):
    with pytest.raises(
        UserError, match=rf"sampling.image_size: .* multiples of 8 .* nearest is {re.escape(str(nearest))}"
    ):
        sampler(dataclasses.replace(CONFIG, image_size=size))


def test_a_prompt_that_is_too_long_and_a_third_turn_raise():
    with pytest.raises(UserError, match="sampling.max_prompt 32"):
        sampler()(["circle " * 40])
    with pytest.raises(UserError, match="turns: 3"):
        sampler()(PROMPTS, turns=3)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("three red circles", "prompts: 'three red circles' is not a list of one or more texts"),
        ([], "is not a list of one or more texts"),
        ([None], "text 0 is None, not a text"),
        (["a\ud800b"], "text 0 has half of a surrogate pair at character 1"),
    ],
)
def test_prompts_that_are_no_texts_are_refused(prompts, message):
    with pytest.raises(UserError, match=message):
        sampler()(prompts)
