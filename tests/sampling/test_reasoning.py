"""The sampler against the plain way: every token and every velocity from a whole packed sequence, without any cache."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.data import layout
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import encode_png
from irg_jax.data.layout import Budgets, RowBuilder, Vocabulary
from irg_jax.errors import UserError
from irg_jax.models import autoencoder as ae
from irg_jax.models import flow
from irg_jax.models.attention.spans import Spans
from irg_jax.models.transformer import Stream
from irg_jax.sampling import reasoning
from irg_jax.sampling.guidance import Guidance, guide
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training.state import graph_of
from tests import tiny

SETTINGS = Sampling(
    system_prompt="think, then paint",
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
PROMPTS = ["a red circle", "two blue squares above a green bench"]


@functools.cache
def sampler(settings: Sampling = SETTINGS) -> Sampler:
    return Sampler(
        graph_of(tiny.CONFIG)[0],
        tiny.weights(),
        autoencoder=tiny.AUTOENCODER,
        vocabulary=tiny.vocabulary(),
        settings=settings,
        origin=Origin("here", 1),
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
        ae.to_unit(vit["patches"]), vit["place"], Spans(vit["position"], vit["start"], vit["end"])
    )
    und_x = model.embed_und(und["ids"], und["vit"], features)
    gen_x = model.embed_gen(x, jnp.where(gen["noised"], t, 0.0), gen["place"])
    names = ("position", "rope", "start", "end")
    und_h, gen_h, _ = model(Stream(und_x, *(und[n] for n in names)), Stream(gen_x, *(gen[n] for n in names)))
    return und_h, gen_h


class Plain:
    """Two turns as irg.md §6 tells them: each context a packed sequence of its own, run whole each time."""

    def __init__(self, seed: int, index: int):
        self.model, words = tiny.model(), tiny.vocabulary()
        # A random model writes ids that are no text; here a text is its ids, written as numbers.
        tokens = types.SimpleNamespace(**vars(words.tokenizer), encode=lambda s: [int(i) for i in s.split()])
        self.encode, self.tokens = words.tokenizer.encode, tokens
        self.words = Vocabulary(tokens, words.vae_transform, words.vit_transform)
        self.key = jax.random.fold_in(jax.random.key(seed), index)

    def text(self, ids) -> Text:
        return Text(" ".join(str(int(i)) for i in ids), need_loss=True)

    def forward(self, parts, noised=None, t=0.0):
        """Hidden states of both streams; ``noised`` stands for the latents of the last image."""
        budgets = Budgets(und=160, gen=64, vit=32, images=4, image_size=(32, 32), vit_patch=192)
        builder = RowBuilder(self.words, tiny.CONFIG.max_latent_size, tiny.CONFIG.vit.patches_per_side)
        conversation = Conversation("plain", tuple(parts))
        builder.add(conversation, layout.segments(conversation, self.words), 0, 0)
        batch = tiny.batch(builder.build(budgets))
        blank = jnp.zeros((16, tiny.CONFIG.token_channels))
        latents = blank if noised is None else noised
        und_h, gen_h = hidden_states(batch, latents, t, has_noised=noised is not None)
        return und_h[0], gen_h[0], batch["und"], batch["gen"]

    def write(self, parts, most):
        """Greedy: the whole sequence again for each token."""
        ids = []
        while len(ids) < most - 2:
            hidden, _, und, _ = self.forward([*parts, self.text(ids)])
            last = int((und["position"][0] >= 0).sum()) - 2  # before eos, which is not written yet
            following = int(jnp.argmax(self.model.logits(hidden[None])[0, last]))
            if following == self.tokens.eos:
                break
            ids.append(following)
        return ids

    def velocity(self, parts, x, t):
        blank = encode_png(np.zeros((32, 32, 3), np.uint8))
        _, hidden, _, gen = self.forward([*parts, Image(blank, need_loss=True)], x, t)
        return self.model.velocity(hidden[None])[0][gen["noised"][0]]

    def paint(self, guidance, turn, full, no_text, no_image):
        x = jax.random.normal(jax.random.fold_in(self.key, 2 * turn + 1), (16, tiny.CONFIG.token_channels))
        times = flow.time_points(SETTINGS.time_points, SETTINGS.timestep_shift)
        for t, following in zip(times[:-1], times[1:], strict=True):
            v = self.velocity(full, x, t)
            if guidance.active(t):
                others = [self.velocity(c, x, t)[None] if c is not None else None for c in (no_text, no_image)]
                v = guide(guidance, v[None], *others)[0]
            x = x + (following - t) * v
        latents = ae.from_tokens(x.reshape(1, 4, 4, -1), tiny.CONFIG.latent_patch)
        return np.asarray(ae.to_bytes(tiny.AUTOENCODER.decode(latents)))[0]

    def __call__(self, prompt):
        system, prompt = (self.text(self.encode(s)) for s in (SETTINGS.system_prompt, prompt))
        ids1 = self.write([system, prompt], SETTINGS.max_thinking[0])
        first = [system, prompt, self.text(ids1)]
        image1 = self.paint(SETTINGS.turn1, 0, first, [system], None)
        looked = [*first, Image(encode_png(image1), need_vae=True, need_vit=True)]
        ids2 = self.write(looked, SETTINGS.max_thinking[1])
        thought = self.text(ids2)
        image2 = self.paint(SETTINGS.turn2, 1, [*looked, thought], looked, [*first, thought])
        return (ids1, image1), (ids2, image2)


@pytest.mark.parametrize("index", [0, 1])
def test_equals_the_plain_way_under_every_guidance_branch(index):
    decode = tiny.vocabulary().tokenizer.decode
    result = sampler()(PROMPTS, seed=5)[index]
    for turn, (ids, image) in zip(result.turns, Plain(5, index)(PROMPTS[index]), strict=True):
        assert turn.thinking == decode(ids)
        assert np.abs(turn.image.astype(int) - image).max() <= 1


def test_a_prompt_gets_the_same_trajectory_alone_and_in_a_batch():
    both = sampler()(PROMPTS, seed=1)
    alone = sampler()([PROMPTS[1]], seed=1, indices=[1])[0]
    for a, b in zip(both[1].turns, alone.turns, strict=True):
        assert a.thinking == b.thinking
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


def test_the_seed_decides_and_one_turn_is_the_first_of_two():
    two, again, other = (sampler()(PROMPTS, seed=seed) for seed in (1, 1, 2))
    one = sampler()(PROMPTS, seed=1, turns=1)
    for i in range(2):
        assert (two[i].turns[1].image == again[i].turns[1].image).all()
        assert (two[i].turns[0].image != other[i].turns[0].image).any()
        assert len(one[i].turns) == 1
        assert (one[i].turns[0].image == two[i].turns[0].image).all()


def test_a_thought_that_does_not_end_is_cut_off_and_says_so():
    for turn, most in zip(sampler()(PROMPTS, seed=1)[0].turns, SETTINGS.max_thinking, strict=True):
        assert not turn.complete
        assert len(tiny.vocabulary().tokenizer.encode(turn.thinking)) >= 1
        assert most > 2


def test_temperature_draws_thoughts_by_the_seed():
    warm = sampler(dataclasses.replace(SETTINGS, temperature=5.0))
    a, again, b = (warm(PROMPTS, seed=seed, turns=1)[0].turns[0].thinking for seed in (1, 1, 2))
    assert a == again
    assert a != b


def test_another_prompt_of_the_same_bucket_compiles_nothing():
    sampler()(["a red circle"])
    compiled = [f._cache_size() for f in (reasoning.first_turn, reasoning.second_turn, reasoning.decode)]
    sampler()(["a blue square"])
    assert [f._cache_size() for f in (reasoning.first_turn, reasoning.second_turn, reasoning.decode)] == compiled


def test_a_given_thought_and_given_noise_take_the_place_of_drawn_ones():
    (result,) = sampler()([PROMPTS[0]], seed=1)
    thoughts = [["a red"], ["a bench"]]
    noise = [np.zeros((1, 16, tiny.CONFIG.token_channels), np.float32)] * 2
    given, again = (sampler()([PROMPTS[0]], seed=seed, thoughts=thoughts, noise=noise)[0] for seed in (1, 2))
    assert [turn.thinking for turn in given.turns] == ["a red", "a bench"]
    assert all((a.image == b.image).all() for a, b in zip(given.turns, again.turns, strict=True))  # nothing is drawn
    assert (given.turns[0].image != result.turns[0].image).any()
    with pytest.raises(UserError, match=r"sampling.max_thinking\[0\] 7"):
        sampler()([PROMPTS[0]], thoughts=[["a red bench " * 4]])


def test_pictures_have_a_size_that_the_autoencoder_takes():
    with pytest.raises(UserError, match="sampling.image_size.*nearest is"):
        sampler(dataclasses.replace(SETTINGS, image_size=(64, 64)))


def test_bad_requests_are_one_line():
    with pytest.raises(UserError, match="sampling.max_prompt 32"):
        sampler()(["circle " * 40])
    with pytest.raises(UserError, match="turns: 3"):
        sampler()(PROMPTS, turns=3)
