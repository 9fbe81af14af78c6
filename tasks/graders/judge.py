"""The `judge` grader: a language model decides, over the same engine interface as the model that is judged.

Every vote is one completion whose answer must fit `SCHEMA`. Two prompts ship as files: `equivalence` (is the final
answer the ground truth? for HLE and IMOAnswerBench) and `rubric` (a question about the response, answered yes or no as
the ground truth `{"criterion", "expected"}` has it; for MultiChallenge, arXiv 2501.17399).
"""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field

from infra.engine import Completion, EngineError
from infra.engines import EngineSettings, make_engine
from infra.sampler import Sampler
from infra.table import Row
from tasks.fingerprint import fingerprint, seed_of
from tasks.graders import Verdict
from tasks.problem import Problem

PROMPTS = Path(__file__).with_name("prompts")

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "reasoning": {"type": "string"},
        "verdict": {"type": "string", "enum": ["yes", "no"]},
    },
    "required": ["answer", "reasoning", "verdict"],
    "additionalProperties": False,
}

REASON = 300
"""Characters of the judge's reasoning that a verdict repeats; its row has all."""

_VERDICT = re.compile(r"""["'*]*verdict["'*]*\s*[:=][\s"'*]*(yes|no)\b""", re.IGNORECASE)


class JudgeSettings(BaseModel):
    """A judge in the campaign file: which model, asked what, how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["judge"]
    engine: EngineSettings
    sampler: Sampler
    prompt: str = Field("equivalence", description="equivalence, rubric, or a Jinja file of your own")
    votes: int = Field(1, ge=1, description="completions for each message; more than half of them decide")

    @property
    def prompt_file(self) -> Path:
        """The file of the prompt."""
        shipped = PROMPTS / f"{self.prompt}.jinja"
        return shipped if shipped.exists() else Path(self.prompt)

    @property
    def name(self) -> str:
        """What its verdicts are known by: another model, sampler, prompt or number of votes is another judge.

        Raises:
            ValueError: the prompt can not be read.
        """
        return f"judge-{fingerprint([self.sampler.model_dump(mode='json'), read_prompt(self), self.votes])[:12]}"


def read_prompt(settings: JudgeSettings) -> str:
    """The Jinja source of the prompt. Raises ValueError, in one line."""
    try:
        source = settings.prompt_file.read_text(encoding="utf-8")
        _environment().from_string(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"prompt {settings.prompt}: can not be read; use equivalence, rubric or a Jinja file"
        ) from error
    except jinja2.TemplateError as error:
        raise ValueError(f"prompt {settings.prompt}: {error.message}; correct the Jinja") from error
    return source


def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False)


@dataclass(frozen=True, slots=True)
class Vote:
    """One completion of the judge. `correct` is None where it could not be read or did not come to be."""

    number: int
    correct: bool | None
    answer: str | None
    reasoning: str
    completion: Completion | None
    error: str | None

    def row(self) -> Row:
        """Its columns in the table of judgements."""
        spent = self.completion
        return {
            "vote": self.number,
            "correct": self.correct,
            "answer": self.answer,
            "reasoning": self.reasoning,
            "content": spent.content if spent else None,
            "prompt_tokens": spent.prompt_tokens if spent else 0,
            "completion_tokens": spent.completion_tokens if spent else 0,
            "seconds": spent.seconds if spent else 0.0,
            "engine": spent.engine if spent else None,
            "error": self.error,
        }


class Judge:
    """Judges messages, as many at once as its engine takes. Belongs to one event loop."""

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises ValueError where the prompt can not be read."""
        self._settings = settings
        self._template = _environment().from_string(read_prompt(settings))
        self._engine = make_engine(settings.engine)
        self._places = asyncio.Semaphore(settings.engine.in_flight)
        self._sampler = settings.sampler.model_copy(update={"answer_schema": SCHEMA})

    async def grade(self, problem: Problem, id: str, message: str) -> tuple[Verdict, list[Vote]]:
        """Judge one message by the majority of the votes.

        Returns:
            `ungraded` where no majority of all votes agrees, with what went wrong; and the votes. A message
            without text is wrong without a vote.
        """
        if not message.strip():
            return Verdict("wrong", None, "no answer found"), []
        numbers = range(self._settings.votes)
        votes = await asyncio.gather(*(self._vote(problem, id, message, number) for number in numbers))
        return _decide(votes), list(votes)

    async def close(self) -> None:
        """Abort what is in flight."""
        await self._engine.close()

    async def _vote(self, problem: Problem, id: str, message: str, number: int) -> Vote:
        chat = [{"role": "user", "content": self.prompt(problem, message)}]
        seed = seed_of(fingerprint([self._settings.name, id, problem.truth, number]))
        async with self._places:
            try:
                completion = await self._engine.complete(chat, self._sampler, seed)
            except EngineError as error:
                return Vote(number, None, None, "", None, f"{type(error).__name__}: {error}")
        said = parse(completion.content or "")
        if said is None:
            return Vote(number, None, None, "", completion, "no verdict could be read in the judge's answer")
        correct = said["verdict"] == _criterion(problem).get("expected", "yes")
        return Vote(number, correct, said["answer"] or None, said["reasoning"], completion, None)

    def prompt(self, problem: Problem, message: str) -> str:
        """What the judge is asked. Values are data: nothing in them is read as template."""
        return self._template.render(
            question=problem.chat[-1]["content"],
            ground_truth=problem.ground_truth,
            criterion=_criterion(problem).get("criterion", ""),
            response=message,
        )


def _criterion(problem: Problem) -> dict[str, str]:
    try:
        truth = json.loads(problem.ground_truth)
    except ValueError:
        return {}
    return truth if isinstance(truth, dict) else {}


def parse(content: str) -> dict[str, str] | None:
    """The judge's answer: its JSON object, also in a block or among words; failing that, the last `verdict: yes`."""
    found = re.search(r"\{.*\}", content, re.DOTALL)
    try:
        said: Any = json.loads(found[0], strict=False) if found else None
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and str(said.get("verdict")).strip().lower() in ("yes", "no"):
        texts = {key: str(said.get(key) or "").strip() for key in ("answer", "reasoning")}
        return {**texts, "verdict": str(said["verdict"]).strip().lower()}
    verdicts = _VERDICT.findall(content)
    return {"answer": "", "reasoning": content.strip(), "verdict": verdicts[-1].lower()} if verdicts else None


def _decide(votes: list[Vote]) -> Verdict:
    counts = Counter(vote.correct for vote in votes)
    answers = Counter(vote.answer.lower() for vote in votes if vote.answer)
    answer = answers.most_common(1)[0][0] if answers else None
    for outcome in (True, False):
        if counts[outcome] * 2 > len(votes):
            said = next(vote.reasoning for vote in votes if vote.correct is outcome)
            share = f"{counts[outcome]} of {len(votes)} votes: " if len(votes) > 1 else ""
            return Verdict("correct" if outcome else "wrong", answer, share + " ".join(said.split())[:REASON])
    errors = [vote.error for vote in votes if vote.error]
    why = " ".join(errors[0].split())[:REASON] if errors else "the judge is divided"
    return Verdict("ungraded", answer, f"{counts[True]} yes and {counts[False]} no of {len(votes)} votes; {why}")
