"""Random plans and pictures of them, for samples about any difference between the two."""

import dataclasses

import numpy as np

from irg_jax.worlds.shapes.draw import open_places, split_of_word
from irg_jax.worlds.shapes.lettering import LETTERS, MOST_LETTERS
from irg_jax.worlds.shapes.manners import draw_scene, kinds_of
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, centres
from irg_jax.worlds.shapes.picture import Drawing, Picture, draw_freely
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import weak_picture

_WRITTEN = "oneig", "text"  # the manner and the kind of prompts that ask for a word
_SHARE_OF_WORDS = 6  # one scene in so many besides, because letters are learned slowly


def generator(seed: int, stream: int, index: int) -> np.random.Generator:
    """The generator of sample ``index`` of a stream, of any seed of 64 bits."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream << 48 | index], np.uint64)))


@dataclasses.dataclass(frozen=True)
class Plans:
    """From which scenes samples are drawn.

    Attributes:
      split: ``train`` or ``held_out``.
      size: side of the pictures in pixels.
      manners: of the prompts, of ``scene.MANNERS``.
    """

    split: str
    size: int
    manners: tuple[str, ...]

    @property
    def have_words(self) -> bool:
        """Whether one of the manners has words in its pictures."""
        return _WRITTEN[0] in self.manners

    @property
    def places(self) -> tuple[str, ...]:
        """All places of a picture, in reading order."""
        return tuple(centres(self.size))

    def draw(self, rng: np.random.Generator, manner: str = "") -> Scene:
        """A random scene of any kind, of one of the manners or of the one given, and often of one with a word."""
        if self.have_words and not manner and rng.integers(_SHARE_OF_WORDS) == 0:
            return self.draw_written(rng)
        manner = manner or self.manners[int(rng.integers(len(self.manners)))]
        scene = draw_scene(rng, manner, int(rng.integers(1 << 16)), self.size, self.split)
        return _spelled(rng, scene, self.split) if scene.word else scene

    def draw_written(self, rng: np.random.Generator) -> Scene:
        """A random scene with a word, where one of the manners has words."""
        kind = kinds_of(_WRITTEN[0]).index(_WRITTEN[1])
        return _spelled(rng, draw_scene(rng, _WRITTEN[0], kind, self.size, self.split), self.split)


def _spelled(rng: np.random.Generator, scene: Scene, split: str) -> Scene:
    """The scene with random letters as its word: from a few hundred words, words are learned, and no letters."""
    word = ""
    while not word or split_of_word(word) != split:
        word = "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=rng.integers(1, MOST_LETTERS + 1)))
    prompts = tuple(prompt.replace(f'"{scene.word}"', f'"{word}"') for prompt in scene.prompts)
    checks = tuple(
        dataclasses.replace(check, question=check.question.replace(f"the word {scene.word}?", f"the word {word}?"))
        for check in scene.checks
    )
    return dataclasses.replace(scene, word=word, prompts=prompts, checks=checks)


def weaker_picture(rng: np.random.Generator, scene: Scene, size: int) -> Picture:
    """A weak picture with any number of differences from its plan: half of the objects are as planned.

    A model's own pictures have more faults than those of the world's records, and this prepares it for them.
    """
    weak = weak_picture(rng, scene, size)
    places = open_places(size, scene.word)
    at = {thing.place: thing for thing in scene.objects}
    drawings: list[Drawing] = []
    for place in places:
        thing = at.get(place)
        if thing is None:
            if rng.integers(4) == 0:
                drawings.append(draw_freely(rng, _any(rng, place)))
        elif rng.integers(2):
            drawings.append(draw_freely(rng, thing))
        else:
            other, kind = _any(rng, place), rng.integers(4)
            colour = thing.colour if kind == 1 else other.colour
            shape = thing.shape if kind == 0 else other.shape
            if kind < 3:
                drawings.append(draw_freely(rng, PlacedObject(colour, shape, place)))
    if not drawings:
        drawings.append(draw_freely(rng, _any(rng, places[int(rng.integers(len(places)))])))
    return dataclasses.replace(weak, drawings=tuple(drawings))


def _any(rng: np.random.Generator, place: str) -> PlacedObject:
    return PlacedObject(COLOURS[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))], place)
