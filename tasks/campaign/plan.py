"""The plan of a campaign: its problems, what identifies its work, its shards, and what it will ask of the engine."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import jinja2

from infra.openai_engine import OpenAISettings
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import Campaign, CampaignError, Overflow, parse_methods
from tasks.campaign.method import Method, parse_method
from tasks.campaign.prompt import PAPER_TEMPLATE, PromptTemplate, template_of
from tasks.fingerprint import fingerprint, sampler_fingerprint
from tasks.graders import load_grader
from tasks.graders.judge import read_prompt
from tasks.problem import Problem
from tasks.store.tables import partition_of

TRAJECTORIES_A_TASK_RUN = 10
TASK_RUNS = 2_000
SUBFLOW_RUNS = 24
POOL_TASKS = 32
"""Task runs and subflow runs cost CPU and, above all, writes to Prefect's database: so a campaign aims at one task run
for so many trajectories, and at no more than so many of each. POOL_TASKS task runs fill the pool of a shard."""


@dataclass(frozen=True)
class Plan:
    """What a campaign will do. Deterministic: the same file and benchmark give the same plan."""

    campaign: Campaign
    problems: list[Problem]
    methods: list[Method]
    template: PromptTemplate
    sampler: str
    recipes: dict[str, str]
    shards: list[list[Problem]]

    @property
    def partition(self) -> str:
        """Where the store keeps this sampler's rows."""
        return partition_of(self.sampler)

    @property
    def reasoning(self) -> list[Method]:
        """The methods that generate beyond the pool."""
        return [method for method in self.methods if not method.resamples_pool]

    def method(self, name: str) -> Method:
        """The campaign's method of that name."""
        return next(method for method in self.methods if method.name == name)

    def reasoning_method(self, name: str | None) -> Method:
        """The method of that name that generates beyond the pool; the first where no name is given.

        Raises:
            CampaignError: there is none.
        """
        for method in self.reasoning:
            if name in (None, method.name):
                return method
        there = ", ".join(method.name for method in self.reasoning) or "none"
        raise CampaignError(
            f"{self.campaign.name} has no method {name or 'with rounds of its own'}; there are: {there}"
        )

    def comparable(self, name: str) -> Method:
        """A method of the campaign, or one that its pool gives: pass@N or sc@N.

        Raises:
            CampaignError: it is neither.
        """
        with contextlib.suppress(ValueError):
            method = parse_method(name)
            if method.resamples_pool and method.widths[0] <= self.campaign.pool:
                return method
        for method in self.methods:
            if method.name == name:
                return method
        there = ", ".join(method.name for method in self.methods)
        raise CampaignError(
            f"{self.campaign.name} has no method {name}; there are {there}, pass@N and sc@N over the pool"
        )


def make_plan(campaign: Campaign) -> Plan:
    """Read what the campaign names. Raises `CampaignError`."""
    problems = load_benchmark(campaign.benchmark)
    template = load_template(campaign.template)
    try:
        if isinstance(campaign.grader, str):
            load_grader(campaign.grader)
        else:
            read_prompt(campaign.grader)
    except ValueError as error:
        raise CampaignError(f"grader: {error}") from error
    methods = parse_methods(campaign)
    shared = (campaign.pool, template, campaign.overflow, campaign.quorum)
    recipes = {method.name: recipe(method, *shared) for method in methods}
    size = campaign.shard_size or _shard_size(campaign, methods, len(problems))
    shards = [problems[start : start + size] for start in range(0, len(problems), size)]
    return Plan(campaign, problems, methods, template, sampler_fingerprint(campaign.sampler), recipes, shards)


def _shard_size(campaign: Campaign, methods: list[Method], problems: int) -> int:
    reasoning = [method for method in methods if not method.resamples_pool]
    later = sum(sum(method.widths[1:]) for method in reasoning)
    trajectories = problems * (campaign.pool + campaign.runs * later)
    task_runs = min(TASK_RUNS, trajectories // TRAJECTORIES_A_TASK_RUN)
    a_shard = min(campaign.pool, POOL_TASKS) + sum(sum(method.widths) + len(method.rounds) for method in reasoning) + 1
    shards = max(1, min(task_runs // a_shard, SUBFLOW_RUNS // max(1, len(reasoning)), problems))
    return -(-problems // shards)


def recipe(method: Method, pool: int | None, template: PromptTemplate, overflow: Overflow, quorum: float) -> str:
    """All that decides a method's prompts on a problem, but for the sampler."""
    others = [template_of(prompt, template).source for prompt in method.other_prompts]
    return fingerprint([method.model_dump(mode="json"), pool, template.source, overflow.model_dump(), quorum, *others])


def load_template(file: str | None) -> PromptTemplate:
    """The template in a Jinja file, by default the paper's. Raises `CampaignError`."""
    path = Path(file) if file else PAPER_TEMPLATE
    try:
        template = PromptTemplate(path.read_text(encoding="utf-8"))
        template.write([{"role": "user", "content": "a problem"}], ["a message"])
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"template {path}: can not be read; give a Jinja file") from error
    except jinja2.TemplateSyntaxError as error:
        raise CampaignError(f"template {path}, line {error.lineno}: {error.message}; correct the Jinja") from error
    except jinja2.TemplateError as error:
        raise CampaignError(
            f"template {path}: {error.message}; it can use original_prompt and the list ref_responses"
        ) from error
    return template


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the plan: what one round of one method asks of the engine, over all problems and runs."""

    method: str
    round: int
    prompts: int
    calls: int


def calls(plan: Plan) -> list[Call]:
    """Calls and prompts by round. Round 1 of every method is drawn from the pool and asks for nothing more."""
    problems, runs = len(plan.problems), plan.campaign.runs
    lines = [Call("pool", 1, problems, problems * plan.campaign.pool)]
    for method in plan.reasoning:
        for number, round in enumerate(method.rounds[1:], 2):
            prompts = 1 if round.sees == "all" else round.width
            lines.append(Call(method.name, number, problems * runs * prompts, problems * runs * round.width))
    return lines


def token_bound(plan: Plan) -> int | None:
    """Completion tokens at most: every call to its max_tokens or the window's end; None when neither is stated."""
    engine = plan.campaign.engine
    window = engine.window if isinstance(engine, OpenAISettings) else None
    longest = plan.campaign.sampler.max_tokens or window
    return longest and longest * sum(line.calls for line in calls(plan))
