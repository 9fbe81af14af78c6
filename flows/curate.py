"""The `curate` flow: collect, rules, decontamination, and where the pool is there stages 1 and 2 and the export."""

import asyncio

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.prefect_server import prefect_server
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import CampaignError, load_campaign
from tasks.campaign.plan import make_plan
from tasks.curation.candidate import question_of
from tasks.curation.curation_file import Curation, Stage2
from tasks.curation.decontamination import Contamination
from tasks.curation.funnel import dropped_lines, write_funnel
from tasks.curation.problem_file import write_problems
from tasks.curation.rules import broken_rule
from tasks.curation.sift import Step, sift, sift_file
from tasks.curation.sources import collect
from tasks.curation.stage_filter import stage_1, stage_2
from tasks.curation.training_rows import read_curated, write_released, write_verl
from tasks.report.books import Books


def run_curation(curation: Curation) -> list[Step]:
    """Run the flow in this process; return the funnel's steps.

    Raises:
        CampaignError: the file, or what it names, is wrong.
        StoreError: a file can not be read or written.
        PrefectError: Prefect's API can not be reached.
    """
    asyncio.run(_start_prefect_server())
    return curate(curation)


async def _start_prefect_server() -> None:
    async with prefect_server():
        pass


@flow(name="curate", persist_result=False)
def curate(curation: Curation) -> list[Step]:
    """Every step reads the file that the one before it wrote. Safe to repeat: it is done anew."""
    clean = _file(curation, "decontamination")
    steps = [collected(curation), ruled(curation), decontaminated(curation)]
    if not steps[-1].left:
        raise CampaignError(f"{curation.out}: no problem is left: {'; '.join(dropped_lines(steps))}")
    write_problems(clean, curation.out)
    if curation.campaign:
        steps.append(first_stage(curation, clean))
        curated = _file(curation, "stage 1")
        if curation.stage_2:
            steps.append(second_stage(curation.stage_2, curated, _file(curation, "stage 2")))
            curated = _file(curation, "stage 2")
        export(curation, curation.campaign, curated)
    write_funnel(curation.out, steps)
    return steps


def _file(curation: Curation, step: str) -> str:
    return f"{curation.out.rstrip('/')}/steps/{step.replace(' ', '-')}.parquet"


def _books(campaign: str) -> Books:
    return Books(make_plan(load_campaign(campaign)))


@task(name="collect", cache_policy=NO_CACHE, persist_result=False)
def collected(curation: Curation) -> Step:
    """All that the sources have."""
    step = sift("collected", collect(curation.sources), lambda _: None, _file(curation, "collected"))
    if not step.left:
        raise CampaignError(f"{curation.sources[0].path}: no problems; a source has at least one row")
    return step


@task(name="rules", cache_policy=NO_CACHE, persist_result=False)
def ruled(curation: Curation) -> Step:
    """Those that break no rule."""
    return sift_file("rules", _file(curation, "collected"), broken_rule, _file(curation, "rules"))


@task(name="decontamination", cache_policy=NO_CACHE, persist_result=False)
def decontaminated(curation: Curation) -> Step:
    """Those that share nothing with the benchmarks."""
    questions = (
        question_of(problem.chat)
        for source in curation.benchmarks
        for problem in load_benchmark(source.model_copy(update={"instruction": ""}))
    )
    name = "decontamination"
    return sift_file(name, _file(curation, "rules"), Contamination(questions).of, _file(curation, name))


@task(name="stage 1", cache_policy=NO_CACHE, persist_result=False)
def first_stage(curation: Curation, before: str) -> Step:
    """Those that the pool gets right now and then."""
    return sift_file("stage 1", before, stage_1(_books(str(curation.campaign))), _file(curation, "stage 1"))


@task(name="stage 2", cache_policy=NO_CACHE, persist_result=False)
def second_stage(stage: Stage2, before: str, after: str) -> Step:
    """Those that synthesis gets right now and then."""
    books = _books(stage.campaign)
    return sift_file("stage 2", before, stage_2(books, books.plan.comparable(stage.method)), after)


@task(name="export", cache_policy=NO_CACHE, persist_result=False)
def export(curation: Curation, campaign: str, curated: str) -> int:
    """Write what is left in the released form, and for verl; return how many problems."""
    books = _books(campaign)
    problems = read_curated(curated, books)
    write_released(f"{curation.out}/released.parquet", problems)
    for epoch in range(curation.verl.epochs):
        write_verl(f"{curation.out}/verl/train-{epoch:03d}.parquet", problems, books.plan, curation.verl, epoch)
    return len(problems)
