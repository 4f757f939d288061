"""Small files of GenAI-Bench's form."""

import json

from irg_jax.benchmarks import genai_bench
from irg_jax.benchmarks.genai_bench.prompts import SKILLS

TAGS = {
    "00000": ("basic", "scene", "attribute"),
    "00001": ("basic", "scene"),
    "00002": ("advanced", "counting"),
    "00003": ("advanced", "negation", "counting", "attribute"),
    "00004": (),
}


def entries(tags=TAGS):
    return {key: {"id": key, "prompt": f"thing {key}", "models": {}} for key in tags}


def skills(tags=TAGS):
    names = [name for level, of_level in SKILLS.items() for name in (level, *of_level)]
    return {name: [int(key) for key, of_key in tags.items() if name in of_key] for name in names}


def write(tmp_path, prompts=None, skills_of=None):
    (tmp_path / "genai_image.json").write_text(json.dumps(entries() if prompts is None else prompts))
    (tmp_path / "genai_skills.json").write_text(json.dumps(skills() if skills_of is None else skills_of))
    return tmp_path


def read(tmp_path):
    return genai_bench.read_prompts(write(tmp_path))
