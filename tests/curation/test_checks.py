"""Which answers are taken, and what is said of the others."""

import concurrent.futures

import pytest

from irg_jax.curation import checks
from irg_jax.curation.config import ChecksConfig, LengthConfig
from irg_jax.endpoints.pictures import PictureFolder
from irg_jax.worlds.shapes.world import make_trajectory
from tests import tiny

CONFIG = ChecksConfig(LengthConfig(10, 500), LengthConfig(10, 2000), "prompt", 32)
PROMPT = "a red circle left of a blue square"
GOOD = make_trajectory(0, "train", 0).thinking2


def test_the_worlds_own_thinking_is_taken():
    for index in range(60):
        made = make_trajectory(0, "train", index)
        assert checks.check_thinking1(made.thinking1, made.prompt, CONFIG) is None
        assert checks.check_thinking2(made.thinking2, made.prompt, CONFIG) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a plan without tags", "think tags"),
        ("Sure: <think> a plan of the picture </think>", "think tags"),
        ("<think> a plan of the picture </think> Done.", "think tags"),
        ("<think> a plan of the picture", "think tags"),
        ("<think> a plan <think> of the picture </think>", "think tags"),
        ("<think> short </think>", "too short"),
        (f"<think> {'long ' * 200} </think>", "too long"),
        ("<think> 左边是一个红色的圆，右边是一个蓝色的方块。 </think>", "language"),
        ("<think> 123 456 789 10 11 12 </think>", "language"),
    ],
)
def test_a_thinking_1_that_is_none(text, rule):
    assert checks.check_thinking1(text, PROMPT, CONFIG).rule == rule


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("<think>", ""), "think tags"),
        ((checks.HEADINGS[1], "### Steps:"), "headings"),
        ((checks.HEADINGS[1] + "\n", ""), "headings"),
        ((checks.HEADINGS[0], f"{checks.HEADINGS[0]} now"), "headings"),
        ((checks.HEADINGS[0], f"**{checks.HEADINGS[0]}**"), "headings"),
        ((checks.HEADINGS[2], f"{checks.HEADINGS[2]}\nx\n{checks.HEADINGS[2]}"), "headings"),
        (("Keep all that is right as it is.", " "), "empty part"),
        (("Keep all", "As in the second image, keep all"), "other image"),
        (("Keep all", "Unlike the improved picture, keep all"), "other image"),
        (("Keep all", "In Image 2 keep all"), "other image"),
        (("Keep all", "Comparing both images, keep all"), "other image"),
        (("Keep all", "第二张图更好。 Keep all"), "other image"),
        (("Keep all", "x" * 3000), "too long"),
    ],
)
def test_a_thinking_2_that_is_none(change, rule):
    assert change[0] in GOOD
    assert checks.check_thinking2(GOOD.replace(*change), PROMPT, CONFIG).rule == rule


def test_an_opening_names_something():
    opening = GOOD[len("<think>") : GOOD.index("\n###")]
    assert checks.check_thinking2(GOOD.replace(opening, " Bad."), PROMPT, CONFIG).rule == "opening"


def test_the_headings_are_english_in_any_language():
    parts = ["<think> 画面太暗，左边的圆形不见了，边缘也很模糊。"]
    parts += [f"{heading}\n请补上红色的圆形，并把边缘画得清楚一些。" for heading in checks.HEADINGS]
    chinese = "\n".join(parts) + " </think>"
    assert checks.check_thinking2(chinese, "左边一个红色的圆", CONFIG) is None
    assert checks.check_thinking2(GOOD, "左边一个红色的圆", CONFIG).rule == "language"
    assert checks.check_thinking2(chinese, PROMPT, CONFIG).rule == "language"


def test_scripts():
    assert checks.main_script("ein Würfel, 3 Äpfel") == ("latin", 1.0)
    assert checks.main_script("ネコ and 猫がいる")[0] == "cjk"
    assert checks.main_script("красный круг")[0] == "cyrillic"
    assert checks.main_script("12 + 3!") == ("", 0.0)


def test_pictures(tmp_path):
    folder = PictureFolder(tmp_path)
    good = folder.put(tiny.png(0, 48, 32))
    assert (good.width, good.height, good.file[-4:]) == (32, 48, ".png") and checks.check_picture(good, CONFIG) is None
    assert folder.read(good) == tiny.png(0, 48, 32)
    assert checks.check_picture(folder.put(tiny.png(0, 31, 64)), CONFIG).rule == "too small"
    for content in (b"", b"<html>", tiny.png()[:80]):
        assert checks.check_picture(folder.put(content), CONFIG).rule == "no picture"


def test_pictures_stay_as_they_came(tmp_path):
    import io

    import PIL.Image

    folder = PictureFolder(tmp_path)
    for name, kind in (("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "bin")):
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (40, 40), "red").save(buffer, name)
        picture = folder.put(buffer.getvalue())
        assert (tmp_path / picture.file).read_bytes() == buffer.getvalue()
        assert picture.file.endswith(f".{kind}") and bool(picture.fault) == (kind == "bin")


def test_many_threads_keep_the_same_picture(tmp_path):
    folder, content = PictureFolder(tmp_path), tiny.png(3, 256, 256)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        kept = set(pool.map(lambda _: folder.put(content), range(64)))
    assert len(kept) == 1 == len(list((tmp_path / "images").iterdir()))
