"""Small folders of TIIF-Bench's form."""

import json

from irg_jax.benchmarks import tiif

COLOR, TEXT = "color+2d", "text"


def prompt(attribute, line):
    return {"type": attribute, "short_description": f"{attribute} {line}", "long_description": f"long {line}"}


def questions(attribute, line):
    return {"type": attribute, "yn_question_list": [f" Is it {line}? ", "Is it red?"], "yn_answer_list": ["Yes", "no"]}


def write_lines(path, entries):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def write(tmp_path, lines=2):
    """A folder with two attributes."""
    for attribute in (COLOR, TEXT):
        prompts = [prompt(attribute, line) for line in range(lines)]
        write_lines(tmp_path / "my_prompts" / f"{attribute}_prompts.jsonl", prompts)
        asked = [questions(attribute, line) for line in range(lines)]
        write_lines(tmp_path / "my_eval_prompts" / f"{attribute}_eval_prompts.jsonl", asked)
    return tmp_path / "my_prompts"


def read(tmp_path, lines=2):
    return tiif.read_prompts(write(tmp_path, lines))
