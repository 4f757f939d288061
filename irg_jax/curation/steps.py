"""The steps of one record: what each reads, how it is asked for, and when it is given up."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.curation.checks import Fault, check_picture, check_thinking1, check_thinking2
from irg_jax.curation.config import STEPS, ChecksConfig, CurateConfig
from irg_jax.curation.prompts import Entry
from irg_jax.curation.template import Template
from irg_jax.endpoints.client import Client
from irg_jax.endpoints.endpoint import RefusedError
from irg_jax.endpoints.journal import Answer
from irg_jax.endpoints.pictures import Picture, PictureFolder
from irg_jax.endpoints.request import Message, Part, Request

_DIGEST_IN_RECORD = 16  # hexadecimal digits of a template's digest
_CHECKS: dict[str, Callable[[str, str, ChecksConfig], Fault | None]] = {
    "thinking1": check_thinking1,
    "thinking2": check_thinking2,
}


class Rejected(Exception):
    """A record that is not used.

    Attributes:
      step: at which.
      rule: in a word or two, for counting.
      reason: in a sentence.
      attempts: how often the teacher was asked; 0 for what was given.
      answer: the last one's text, empty if there is none.
    """

    def __init__(self, step: str, fault: Fault, attempts: int = 0, answer: str = ""):
        super().__init__(f"{step}: {fault.reason}")
        self.step, self.rule, self.reason = step, fault.rule, fault.reason
        self.attempts, self.answer = attempts, answer


@dataclasses.dataclass
class Draft:
    """A record while it is made; what is missing is empty or None."""

    entry: Entry
    thinking1: str = ""
    image1: Picture | None = None
    thinking2: str = ""
    image2: Picture | None = None
    teachers: dict[str, str] = dataclasses.field(default_factory=dict)
    templates: dict[str, str] = dataclasses.field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As in records.jsonl, without the keys of what is missing."""
        values: dict[str, Any] = {"key": self.entry.key, "prompt": self.entry.prompt}
        for step in STEPS:
            made = getattr(self, step)
            values[step] = made.file if isinstance(made, Picture) else made
        values |= {name: getattr(self.entry, name) for name in ("source", "licence")}
        values |= {"teachers": self.teachers, "templates": self.templates}
        return {name: value for name, value in values.items() if value}


def needs(config: CurateConfig) -> dict[str, tuple[str, ...]]:
    """Which other steps each step has to have before it."""
    edits = config.image2.method == "edit"
    return {
        "thinking1": (),
        "image1": ("thinking1",) if config.image1.task == "turn1" else (),
        "image2": ("image1",) if edits else (),
        "thinking2": ("image1", "image2"),
    }


class Steps:
    """Makes the steps of records, except for image 1, which the own model makes in batches.

    Args:
      config: of the command.
      teachers: by step.
      templates: by name.
      pictures: where pictures are kept.
    """

    def __init__(
        self, config: CurateConfig, teachers: Mapping[str, Client], templates: Mapping[str, Template],
        pictures: PictureFolder,
    ):  # fmt: skip
        self._config, self._teachers, self._templates, self._pictures = config, teachers, templates, pictures

    def begin(self, entry: Entry) -> Draft:
        """Takes what is given and writes thinking 1. Raises Rejected, and what a teacher raises."""
        draft = Draft(entry, teachers=dict(entry.teachers), templates=dict(entry.templates))
        for step in ("image1", "image2"):
            path = getattr(entry, step)
            if path is not None:
                setattr(draft, step, self._given_picture(step, path))
        for step, check in _CHECKS.items():
            text = getattr(entry, step)
            fault = check(text, entry.prompt, self._config.checks) if text else None
            if fault is not None:
                raise Rejected(step, fault, answer=text)
            setattr(draft, step, text)
        if not draft.thinking1 and "thinking1" in self._config.steps:
            # The published data were planned from a prompt and its picture.
            name = "thinking1" if draft.image2 is None else "thinking1_from_image"
            self._write("thinking1", name, draft)
        return draft

    def finish(self, draft: Draft) -> Draft:
        """Makes image 2 and writes thinking 2. Raises Rejected, and what a teacher raises."""
        if draft.image2 is None and "image2" in self._config.steps:
            self._paint(draft)
        if not draft.thinking2 and "thinking2" in self._config.steps:
            self._write("thinking2", "thinking2", draft)
        return draft

    def _given_picture(self, step: str, path: Any) -> Picture:
        try:
            picture = self._pictures.put(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        fault = check_picture(picture, self._config.checks)
        if fault is not None:
            raise Rejected(step, fault, answer=path.name)
        return picture

    def _write(self, step: str, name: str, draft: Draft) -> None:
        """Asks for a text until it is good, telling what was wrong with the last one."""
        template, check = self._templates[name], _CHECKS[step]
        question = Message("user", template.fill(_values(draft)))
        messages: tuple[Message, ...] = (question,)
        for attempt in range(1, self._config.attempts + 1):
            answer = self._ask(step, template, messages, attempt)
            fault = _unfinished(answer) or check(answer.text, draft.entry.prompt, self._config.checks)
            if fault is None:
                setattr(draft, step, answer.text)
                self._note(step, template, draft)
                return
            if attempt == self._config.attempts:
                raise Rejected(step, fault, attempt, answer.text)
            told = self._templates["retry"].fill_text({"reason": fault.reason})
            messages = (question, Message("assistant", (answer.text or "…",)), Message("user", (told,)))

    def _paint(self, draft: Draft) -> None:
        edits = self._config.image2.method == "edit"
        template = self._templates["image2_edit" if edits else "image2_generate"]
        parts: tuple[Part, ...] = template.fill(_values(draft))
        if edits and draft.image1 is not None:
            parts = (*parts, draft.image1)
        for attempt in range(1, self._config.attempts + 1):
            picture = self._ask("image2", template, (Message("user", parts),), attempt).picture
            assert picture is not None  # a teacher of pictures
            fault = check_picture(picture, self._config.checks)
            if fault is None:
                draft.image2 = picture
                self._note("image2", template, draft)
                return
            if attempt == self._config.attempts:
                raise Rejected("image2", fault, attempt, picture.file)

    def _ask(self, step: str, template: Template, messages: tuple[Message, ...], attempt: int) -> Answer:
        teacher = self._teachers[step]
        config = teacher.config
        request = Request(step, config.model, template.digest, config.options, config.max_tokens, messages, attempt)
        try:
            return teacher.ask(request)
        except RefusedError as error:
            raise Rejected(step, Fault("refused by the endpoint", str(error)), attempt) from error

    def _note(self, step: str, template: Template, draft: Draft) -> None:
        draft.teachers[step] = self._teachers[step].config.model
        draft.templates[step] = f"{template.name}:{template.digest[:_DIGEST_IN_RECORD]}"


def _values(draft: Draft) -> dict[str, str | Picture]:
    """What templates may fill in."""
    values: dict[str, str | Picture] = {"prompt": draft.entry.prompt, "thinking1": _bare(draft.thinking1)}
    return values | {step: made for step in ("image1", "image2") if (made := getattr(draft, step)) is not None}


def _bare(thinking: str) -> str:
    """A thinking without its tags, or a word where there is none, so that a template reads well without it."""
    return thinking.removeprefix("<think>").removesuffix("</think>").strip() or "(none)"


def _unfinished(answer: Answer) -> Fault | None:
    if answer.finish == "length":
        return Fault("cut off", f"it was cut off after {answer.max_tokens} tokens; write a shorter text")
    if answer.finish == "content_filter":
        return Fault("filtered", "it was cut by the endpoint's content filter; write it without what was filtered")
    return None if answer.text else Fault("empty", "there was no text; write it")
