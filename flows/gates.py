"""Does coordination, and not something else, make the shipped model better? `make gates` measures it.

Two campaigns on held-out problems give pass@1, the votes and the levels. Two controls tell what the references
contribute: the same prompt with another problem's references, and with own references that are all wrong. The same
problems, bare, go to `base` too, the checkpoint that met no reference: that tells what training on syntheses cost. The
last line is one JSON object with each gate's value, 95 % interval (bootstrap over problems), n, and whether it is met.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from flows.run import run_campaign
from infra.engine import Engine
from infra.engines import make_engine
from infra.local.engine import SHIPPED, LocalSettings
from tasks.campaign.campaign_file import Campaign, load_campaign
from tasks.campaign.method import parse_method
from tasks.campaign.plan import Plan, make_plan
from tasks.campaign.prompt import in_prompt_order
from tasks.compaction import conclusion
from tasks.fingerprint import prompt_fingerprint, seed_of, trajectory_id
from tasks.graders import Verdict, load_grader
from tasks.problem import Problem
from tasks.report.books import Books
from tasks.report.report import accuracies
from tasks.report.statistics import bootstrap_interval
from tasks.report.vote import vote
from tasks.store.tables import trajectories_table

CAMPAIGNS = Path(__file__).with_name("campaigns")
BASE = SHIPPED / "base"
"""The checkpoint that left the shipped model's training where synthesis started."""
REFERENCES = DRAWS = 16
MOST_LOST = 0.03
"""What pass@1 may lose by training on syntheses."""
Rates = NDArray[np.float64]
Gate = dict[str, float | int | bool | list[float]]


def main() -> None:
    """Run the campaigns, or what is missing of them; then the controls; print the gates."""
    campaigns = {name: load_campaign(CAMPAIGNS / f"gates-{name}.yaml") for name in ("countdown", "arithmetic")}
    books = {name: _books(campaign) for name, campaign in campaigns.items()}
    base = {name: _books(_bare_on_base(campaign)) for name, campaign in campaigns.items()}
    rates = {name: _rates(books[name], base[name]) for name in campaigns}
    of, sums = rates["countdown"], rates["arithmetic"]
    of["foreign"], of["foreign sc@16"], of["all wrong"] = asyncio.run(_controls(books["countdown"]))
    for benchmark, by_name in rates.items():
        for name, accuracy in by_name.items():
            print(f"{benchmark:10} {name:13} {_percent(accuracy)}")
    order = [float(np.nanmean(of[name])) for name in ("high", "medium", "low", "pass@1")]
    gates: dict[str, Gate] = {
        "countdown: medium - sc@16": _above(0, of["medium"] - of["sc@16"]),
        "countdown: high >= medium >= low >= pass@1": {"values": order, "met": order == sorted(order, reverse=True)},
        "countdown: medium - foreign": _above(0, of["medium"] - of["foreign"]),
        "countdown: medium - foreign sc@16": _above(0, of["medium"] - of["foreign sc@16"]),
        "countdown: all wrong - foreign": _above(0, of["all wrong"] - of["foreign"]),
        "countdown: pass@1 within 10 and 70 %": _within(of["pass@1"]),
        "countdown: pass@1 - base": _above(-MOST_LOST, of["pass@1"] - of["base pass@1"]),
        "arithmetic: pass@1 within 10 and 70 %": _within(sums["pass@1"]),
        "arithmetic: pass@1 - base": _above(-MOST_LOST, sums["pass@1"] - sums["base pass@1"]),
        "arithmetic: low - pass@1": _above(0, sums["low"] - sums["pass@1"]),
    }
    print(json.dumps(gates))


def _books(campaign: Campaign) -> Books:
    plan = make_plan(campaign)
    if missing := asyncio.run(run_campaign(plan, Console(stderr=True, highlight=False))):
        raise SystemExit(missing)
    return Books(plan)


def _bare_on_base(campaign: Campaign) -> Campaign:
    """The campaign's pool, drawn from the checkpoint that met no reference."""
    return campaign.model_copy(
        update={
            "name": f"{campaign.name}-base",
            "sampler": campaign.sampler.model_copy(update={"model": f"{campaign.sampler.model}-base"}),
            "engine": LocalSettings(model=BASE),
            "methods": ("sc@4",),
        }
    )


def _rates(books: Books, base: Books) -> dict[str, Rates]:
    """Per problem, the accuracy of each method, and pass@1 of both checkpoints."""
    bare = parse_method("pass@1")
    of_methods = {method.name: accuracies(books, method) for method in books.plan.methods}
    return {"base pass@1": accuracies(base, bare), "pass@1": accuracies(books, bare), **of_methods}


async def _controls(books: Books) -> tuple[Rates, Rates, Rates]:
    """Per problem: accuracy and vote with another problem's references, accuracy with own ones that are all wrong."""
    plan, problems = books.plan, books.plan.problems
    messages = _messages(books)
    chooser = random.Random("controls")
    engine = make_engine(plan.campaign.engine)
    places = asyncio.Semaphore(plan.campaign.engine.in_flight)

    async def answers(problem: Problem, references: Sequence[str]) -> list[Verdict]:
        shown = [message for _, message in in_prompt_order(references, [messages[id] for id in references])]
        chat = plan.template.write(problem.chat, shown)
        ids = [trajectory_id(plan.sampler, prompt_fingerprint(chat), draw) for draw in range(DRAWS)]
        return await asyncio.gather(*(_answer(engine, places, plan, problem, chat, id) for id in ids))

    async def accuracy(problem: Problem, references: Sequence[str]) -> tuple[float, float]:
        verdicts = await answers(problem, references)
        right = [verdict.outcome == "correct" for verdict in verdicts]
        winner = vote([verdict.answer for verdict in verdicts])
        voted = next((r for r, verdict in zip(right, verdicts, strict=True) if verdict.answer == winner), False)
        return float(np.mean(right)), float(voted)

    others = [problems[(n + chooser.randrange(1, len(problems))) % len(problems)] for n in range(len(problems))]
    foreign = [chooser.sample(books.pool(other), REFERENCES) for other in others]
    wrong = [[id for id in books.pool(p) if books.outcome(id, p) == "wrong"] for p in problems]
    own = [chooser.sample(ids, REFERENCES) if len(ids) >= REFERENCES else None for ids in wrong]
    with_foreign = await asyncio.gather(*(accuracy(p, ids) for p, ids in zip(problems, foreign, strict=True)))
    with_wrong = await asyncio.gather(
        *(accuracy(p, ids) if ids else _nothing() for p, ids in zip(problems, own, strict=True))
    )
    await engine.close()
    rates = np.array(with_foreign)
    return rates[:, 0], rates[:, 1], np.array(with_wrong)[:, 0]


async def _nothing() -> tuple[float, float]:
    return np.nan, np.nan


async def _answer(
    engine: Engine, places: asyncio.Semaphore, plan: Plan, problem: Problem, chat: list[dict[str, str]], id: str
) -> Verdict:
    async with places:
        completion = await engine.complete(chat, plan.campaign.sampler, seed_of(id))
    return load_grader(plan.campaign.grader_name)(problem.ground_truth, conclusion(completion.content))


def _messages(books: Books) -> dict[str, str]:
    table = trajectories_table(books.plan.campaign.store)
    rows = table.read(books.plan.partition, ["id", "generation", "message"]).to_pylist()
    counting = books.tokens.keys()
    return {
        row["id"]: row["message"]
        for row in rows
        if row["id"] in counting and row["generation"] == books.generation(row["id"])
    }


def _above(least: float, differences: Rates) -> Gate:
    """Met where the whole interval is above `least`."""
    known = differences[~np.isnan(differences)]
    low, high = bootstrap_interval(known)
    return {"value": float(known.mean()), "interval": [low, high], "n": len(known), "met": low > least}


def _within(rates: Rates) -> Gate:
    low, high = bootstrap_interval(rates)
    mean = float(rates.mean())
    return {"value": mean, "interval": [low, high], "n": len(rates), "met": 0.10 <= mean <= 0.70}


def _percent(rates: Rates) -> str:
    known = rates[~np.isnan(rates)]
    low, high = bootstrap_interval(known)
    return f"{100 * known.mean():5.1f} [{100 * low:5.1f}, {100 * high:5.1f}] n={len(known)}"


if __name__ == "__main__":
    main()
