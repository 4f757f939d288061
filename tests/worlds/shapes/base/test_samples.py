"""The samples of a base model: the same for the same seed, of training plans alone, and true of their pictures."""

import numpy as np
import pytest

from irg_jax.worlds.shapes.base.labels import labelled_pictures
from irg_jax.worlds.shapes.base.painting import captioned, edits
from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.base.understanding import MARK, WHAT_IS_SEEN, samples
from irg_jax.worlds.shapes.draw import SPLITS, split_of, split_of_word
from irg_jax.worlds.shapes.faults import compare
from irg_jax.worlds.shapes.lettering import LETTERS
from irg_jax.worlds.shapes.manners.words import WORDS
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, centres, in_words
from irg_jax.worlds.shapes.picture import Content
from irg_jax.worlds.shapes.prompts import parse_prompt
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture
from irg_jax.worlds.shapes.score import compare_with_plan, score_image
from irg_jax.worlds.shapes.thinking import (
    HEADINGS,
    parse_plan,
    parse_reflection,
    write_evidence,
    write_faults,
    write_plan,
    write_remedy,
    write_seen,
)
from tests.worlds.shapes.drawing import plan

PLACES = tuple(centres(32))
PLANS = Plans("train", 32, ("geneval",))


def texts(kind, seed):
    if kind == "understanding":
        return [sample.turns for sample in samples(seed, PLANS, range(60))]
    if kind == "captions":
        return [
            (sample.picture.tobytes(), sorted(sample.captions.items())) for sample in captioned(seed, PLANS, range(12))
        ]
    if kind == "edits":
        return [
            (sample.before.tobytes(), sample.instruction, sample.after.tobytes())
            for sample in edits(seed, PLANS, range(12))
        ]
    return [values.tobytes() for values in labelled_pictures(seed, PLANS, range(12)).values()][:2]


@pytest.mark.parametrize("kind", ["understanding", "captions", "edits", "labels"])
def test_a_seed_decides_every_sample(kind):
    assert texts(kind, 5) == texts(kind, 5)
    assert all(one != other for one, other in zip(texts(kind, 5)[:2], texts(kind, 6)[:2], strict=True))
    assert texts(kind, 2**64 - 1)


@pytest.mark.parametrize("split", SPLITS)
def test_plans_are_of_their_split(split):
    plans = Plans(split, 32, ("geneval",))
    assert all(split_of(plans.draw(generator(0, 1, index)).objects) == split for index in range(100))


def planned_in(text):
    """What the plan in a text has; None where there is none."""
    return next((found for line in text.split("\n") if (found := parse_plan(line))), None)


def test_all_plans_that_samples_name_are_of_training():
    named = [planned_in(turn) for sample in samples(1, PLANS, range(200)) for turn in sample.turns]
    named += [planned_in(text) for sample in captioned(1, PLANS, range(60)) for text in sample.captions.values()]
    plans = [plan for plan in named if plan]
    assert len(plans) > 120
    assert {split_of(plan.things) for plan in plans} == {"train"}


def test_a_picture_of_many_faults_has_some_that_no_record_has():
    counts = set()
    for index in range(200):
        rng = generator(0, 2, index)
        scene = PLANS.draw(rng)
        picture = weaker_picture(rng, scene, 32)
        assert picture.drawings and len({thing.place for thing in picture.objects}) == len(picture.objects)
        counts.add(len(compare(scene.plan, picture.content)))
    assert {0, 1, 2, 3, 4, 5} <= counts


def pairs(values):
    return list(zip(values[::2], values[1::2], strict=True))


def answer_to(question, things):
    """The answer to one of the short questions, from what is read."""
    at = {thing.place: thing for thing in things}
    words = question.rstrip("?").split()
    if question.startswith("What is "):
        return f"{in_words(at[words[2]])}." if words[2] in at else "nothing."
    if question.startswith("What colour"):
        return f"{at[words[5]].colour}."
    if question.startswith("How many"):
        return f"{NUMBERS[sum(thing.shape == words[-1] for thing in things)]}."
    return "Yes." if any((thing.colour, thing.shape) == tuple(words[-2:]) for thing in things) else "No."


def verdict(planned, seen):
    return f"{write_evidence(planned, seen, PLACES)} {write_faults(compare(planned, seen))}"


# The six kinds alternate in steps of twenty; each text is compared with what the exact reader sees.
def test_what_samples_say_is_true_of_their_pictures():
    kinds = dict.fromkeys(("see", "answer", "texts", "picture", "plan", "prompt"), 0)
    for (first, *turns), picture in samples(2, PLANS, range(120)):
        if picture is None and "\n" not in first:
            planned = {thing.shape for thing in parse_plan(*turns).things}
            assert planned == {shape for shape in SHAPES if shape in first}, "GenEval's prompts say every shape"
            kinds["prompt"] += 1
            continue
        if picture is None:
            text, words = first.split("\n")
            said = parse_reflection(
                f"<think> {words}" + "".join(f"\n{heading}\nx" for heading in HEADINGS) + " </think>"
            )
            assert turns == [verdict(parse_plan(text), said.seen)]
            kinds["texts"] += 1
            continue
        read, question = read_picture(render(picture)), first.replace(MARK, "").strip()
        if read.things != picture.objects or read.flaws != picture.flaws:
            continue  # one in a thousand, of noise
        seen = write_seen(Content(read.things, read.flaws), PLACES)
        if planned := parse_plan(question):
            assert turns == [f"<think> {seen} {verdict(planned, Content(read.things, read.flaws))}"]
            kinds["picture"] += 1
        elif question == WHAT_IS_SEEN:
            assert turns == [seen]
            kinds["see"] += 1
        elif question == "How is this picture planned?":
            assert turns == [write_plan(plan(*read.things))]
            kinds["plan"] += 1
        else:
            for asked, said in pairs([question, *turns]):
                assert said == answer_to(asked, read.things), asked
            kinds["answer"] += 1
    assert sum(kinds.values()) >= 118
    assert min(kinds.values()) >= 5 and max(kinds, key=kinds.get) == "picture"


def test_captions_say_what_their_picture_shows():
    for index, (image, captions) in enumerate(captioned(3, PLANS, range(45))):
        read = read_picture(image)
        if index % 3 == 0:
            assert captions == {"seen": write_seen(Content(read.things, read.flaws), PLACES)}
            continue
        assert set(captions) == {"prompt", "plan"}
        assert compare_with_plan(read, parse_plan(captions["plan"])) == ()
        assert score_image(image, parse_prompt(captions["prompt"])).correct


def test_edits_say_what_leads_from_one_picture_to_the_other():
    numbers, wrong = [], 0
    for before, instruction, after in edits(4, PLANS, range(45)):
        improved = read_picture(after)
        faults = compare_with_plan(read_picture(before), Content(improved.things))
        numbers.append(len(faults))
        assert improved.flaws == ()
        # The order of the steps is that of the plan, which the pictures do not show.
        steps = " ".join(map(write_remedy, faults)) or "Keep it."
        wrong += sorted(instruction.split(". ")) != sorted(steps.split(". "))
    assert wrong == 0
    assert max(numbers) > 3 and min(numbers) == 0


@pytest.mark.parametrize(("size", "count"), [(32, 60), (64, 12)])
def test_labels_are_what_the_reader_reads(size, count):
    data = labelled_pictures(5, Plans("held_out", size, ("geneval",)), range(count))
    places, wrong = tuple(centres(size)), 0
    assert data["pictures"].shape == (count, size, size, 3) and data["pictures"].dtype == np.uint8
    assert data["labels"].dtype == data["classes"].dtype == np.int32
    assert data["classes"].tolist() == [7, 6] * len(places) + [2, 3, 2, 2]
    for image, labels in zip(data["pictures"], data["labels"].tolist(), strict=True):
        read = read_picture(image)
        looks = pairs(labels[: 2 * len(places)])
        labelled = [
            (COLOURS[colour - 1], SHAPES[shape - 1], place)
            for place, (colour, shape) in zip(places, looks, strict=True)
            if colour
        ]
        aspects = (("no outlines",), ("blurred", "ragged"), ("faded",), ("noisy",))
        flaws = tuple(
            names[label - 1] for names, label in zip(aspects, labels[2 * len(places) :], strict=True) if label
        )
        wrong += labelled != [(thing.colour, thing.shape, thing.place) for thing in read.things] or flaws != read.flaws
    assert wrong <= 1


def test_labels_say_what_is_written_where_the_manners_have_words():
    data = labelled_pictures(5, Plans("train", 32, ("geneval", "oneig")), range(60))
    assert data["classes"].tolist() == [7, 6] * 4 + [2, 3, 2, 2] + [2] + [27] * 4
    wrong = words = 0
    for image, labels in zip(data["pictures"], data["labels"][:, -5:].tolist(), strict=True):
        read = read_picture(image)
        word = "".join(LETTERS[letter - 1] for letter in labels[1:] if letter)
        words += bool(word)
        wrong += (read.word, read.style == "striped") != (word, bool(labels[0]))
    assert wrong <= 1 and 20 < words < 50


def test_words_are_random_letters_of_the_split():
    for split in SPLITS:
        plans = Plans(split, 32, ("oneig",))
        scenes = [plans.draw(np.random.default_rng(i), "oneig") for i in range(90)]
        words = [scene.word for scene in scenes if scene.word]
        assert len(set(words) - set(WORDS)) > len(words) / 3
        assert {split_of_word(word) for word in words} == {split}
        assert all(f'"{scene.word}"' in prompt for scene in scenes if scene.word for prompt in scene.prompts)
        # The checks ask for the same word.
        drawn = ((improved_picture(weak_picture(np.random.default_rng(0), s, 32), s), s) for s in scenes if s.word)
        assert all(score_image(render(picture), scene).correct for picture, scene in drawn)


def test_labels_vary_and_the_splits_share_no_picture():
    train, held_out = (labelled_pictures(0, Plans(split, 32, ("geneval",)), range(60)) for split in SPLITS)
    for column in range(12):
        assert len(np.unique(train["labels"][:, column])) > 1
    assert not {image.tobytes() for image in train["pictures"]} & {image.tobytes() for image in held_out["pictures"]}
