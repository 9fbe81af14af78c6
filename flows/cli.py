"""The `pacore` command."""

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import InterruptedRunError, PrefectError
from infra.engine import EngineError
from infra.filesystem import StoreError
from tasks.campaign.campaign_file import CampaignError, load_campaign, load_campaigns
from tasks.campaign.plan import Plan, calls, make_plan, token_bound
from tasks.curation.curation_file import load_curation
from tasks.curation.funnel import dropped_lines, funnel_table
from tasks.curation.stage_filter import UNKNOWN
from tasks.doctor import Finding, examine
from tasks.patches import export_patches, import_verdicts
from tasks.pool_file import export_pool, import_pool
from tasks.report.books import Books
from tasks.report.chart import chart
from tasks.report.exhibits.evidence import Evidence
from tasks.report.report import Line, accuracies, report
from tasks.report.statistics import Comparison, paired
from tasks.report.status import status
from tasks.report.table_files import report_folder, write_table
from tasks.report.table_text import HEADINGS, caption, cells
from tasks.report.walk import find_problem, walks
from tasks.report.walk_text import as_text
from tasks.rerun import Due, choose, due, finished, with_holes
from tasks.serving.serving_file import load_serving
from tasks.verify import repair as mend
from tasks.verify import verify

COMPLETE, INCOMPLETE, BAD_INPUT = 0, 1, 2

app = App(
    name="pacore",
    help="Campaigns of coordinated reasoning: an LLM thinks in rounds (PaCoRe, arXiv 2601.05593).",
    help_epilogue="Exit status: 0 complete, 1 incomplete or failed, 2 bad input.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
patches = App(name="patches", help="Patches to the harness of SWE-bench, and its verdicts back.")
pool = App(name="pool", help="First-round trajectories from and to a file.")
app.command(pool)
app.command(patches)

Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON instead of tables")]
Switch = Annotated[bool, Parameter(negative="")]
Plot = Annotated[bool, Parameter(name="--plot", negative="", help="draw accuracy against test-time compute")]
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@app.command
def run(file: str, *, json: Json = False) -> int:
    """Run a campaign, or go on with it. Safe to repeat: what the store holds is not done again.

    Example: pacore run hmmt.yaml

    Parameters
    ----------
    file
        the campaign file
    """
    plans = _plans(file)
    return _run(plans, [plan for plan in plans if not status(Books(plan)).complete], json)


def _run(plans: list[Plan], due: list[Plan], json: bool) -> int:
    """Run those that are due, one after the other; print the tables of all."""
    missing = False
    for plan in due:
        if said := _run_one(plan):
            _say(said)
            missing = True
    with contextlib.suppress(*(StoreError,) if missing else ()):  # the store may be what failed
        tables = [(plan, report(Books(plan))) for plan in plans]
        if json:
            _print_lines_as_json({plan.campaign.name: lines for plan, lines in tables})
        else:
            for plan, lines in tables:
                _print_lines(plan, lines)
    return INCOMPLETE if missing else COMPLETE


def _run_one(plan: Plan) -> str | None:
    """What is missing in the end, None for nothing."""
    from flows.interruption import told  # Prefect takes seconds to import
    from flows.run import run_campaign

    try:
        return asyncio.run(run_campaign(plan, err))
    except InterruptedRunError:
        told.set()
        raise


@app.command
def rerun(
    file: str,
    *,
    method: str | None = None,
    round: int | None = None,
    problem: str | None = None,
    failed: Switch = False,
    all: Switch = False,
    dry_run: Switch = False,
    json: Json = False,
) -> int:
    """Do a part of a campaign again: say what is due, then run the campaign.

    A trajectory's seed comes from its key. So one that is generated again repeats, unless the server or the model
    behind it changed; for fresh samples raise `runs`. With --all rows are superseded by a new generation and stay
    readable; later rounds that were built on them become due too, also those of other campaigns that share them.

    Example: pacore rerun hmmt.yaml --method low --all --dry-run

    Parameters
    ----------
    file
        the campaign file
    method
        only this method, by name; absent: all, and the pool
    round
        only this round; 1 is the pool
    problem
        only this problem, by its id
    failed
        fill the holes (the default): what failed or is missing, also where the quorum went on without it. Holes
        elsewhere in the campaign are filled too, as by `pacore run`
    all
        also what is finished
    dry_run
        say what is due, and do nothing
    """
    if failed and all:
        raise CampaignError("--failed and --all are given; give one of them")
    plan = make_plan(load_campaign(file))
    choice, everything = choose(plan, method, round, problem), choose(plan, None, None, None)
    books = Books(plan)
    again = finished(books, choice) if all else with_holes(books, choice)
    lines = due(Books(plan, again), everything if all else choice)
    superseded = len(again) if all else 0
    if dry_run and json:
        _print_json({"superseded": superseded, "due": [asdict(line) for line in lines]})
        return COMPLETE
    if not json:
        _print_due(lines, superseded)
    if dry_run:
        return COMPLETE
    if again:
        books.reruns.demand(again)
    return _run([plan], [plan] if lines or not status(books).complete else [], json)


@app.command(name="verify")
def verify_store(file: str, *, repair: Switch = False, json: Json = False) -> int:
    """Check every row of a campaign's store: keys, seeds, prompts, rounds. Exit status 0 when all is well, else 1.

    Example: pacore verify hmmt.yaml

    Parameters
    ----------
    file
        the campaign file
    repair
        move files that are no whole part to quarantine/ in the store and supersede wrong rows; nothing is deleted
    """
    plan = make_plan(load_campaign(file))
    found = verify(plan)
    if repair:
        mend(plan, found)
    findings = found.findings
    if json:
        counts = {"rows": found.rows, "duplicates": found.duplicates, "superseded": found.superseded}
        listed = [asdict(finding) for finding in findings]
        _print_json({"well": not findings, **counts, "untold": found.untold, "findings": listed})
        return INCOMPLETE if findings else COMPLETE
    headings = ["table", "rows", "duplicates"]
    _print_table(headings, [[name, f"{n:,}", f"{found.duplicates[name]:,}"] for name, n in found.rows.items()])
    for finding in findings:
        text = f"{finding.count:,} {finding.kind}, the first: {finding.example}; {finding.remedy}"
        out.print(text, soft_wrap=True, markup=False)
    if found.untold:
        out.print(f"{found.untold:,} prompts could not be told: too many versions of what they quote", soft_wrap=True)
    if not findings or repair:
        out.print("repaired; run the campaign for what is missing now" if findings else "all is well")
    return INCOMPLETE if findings else COMPLETE


@app.command(name="doctor")
def show_doctor(file: str, *, json: Json = False) -> int:
    """Look at all that a campaign needs: engine, store, Prefect, clocks, disk. Exit status 1 where something fails.

    Example: pacore doctor hmmt.yaml

    Parameters
    ----------
    file
        the campaign file
    """
    campaigns = [plan.campaign for plan in _plans(file)]

    async def look() -> list[Finding]:
        found = []
        async for finding in examine(campaigns):
            found.append(finding)
            if not json:
                out.print(f"{finding.state:4}  {finding.what}: {finding.said}", soft_wrap=True, markup=False)
        return found

    findings = asyncio.run(look())
    if json:
        _print_json([asdict(finding) for finding in findings])
    return INCOMPLETE if any(finding.state == "fail" for finding in findings) else COMPLETE


@app.command
def validate(file: str, *, json: Json = False) -> int:
    """Check a campaign file and print its plan; asks neither the engine nor the store.

    Example: pacore validate hmmt.yaml

    Parameters
    ----------
    file
        the campaign file
    """
    plans = _plans(file)
    if json:
        _print_by_campaign({plan.campaign.name: _plan_as_json(plan) for plan in plans})
    else:
        for plan in plans:
            _print_plan(plan)
    return COMPLETE


def _plan_as_json(plan: Plan) -> dict[str, object]:
    lines = calls(plan)
    return {
        "problems": len(plan.problems),
        "shards": len(plan.shards),
        "rounds": [asdict(line) for line in lines],
        "calls": sum(line.calls for line in lines),
        "tokens_at_most": token_bound(plan),
    }


def _print_plan(plan: Plan) -> None:
    lines, bound = calls(plan), token_bound(plan)
    out.print(f"{caption(plan)}, runs {plan.campaign.runs}, shards {len(plan.shards)}", soft_wrap=True, markup=False)
    _print_table(
        ["method", "round", "prompts", "calls"],
        [[line.method, str(line.round), f"{line.prompts:,}", f"{line.calls:,}"] for line in lines],
    )
    tokens = f" and {bound:,} tokens" if bound else "; for a bound of tokens set sampler.max_tokens or engine.window"
    out.print(f"at most {sum(line.calls for line in lines):,} calls{tokens}", soft_wrap=True)


@app.command(name="status")
def show_status(file: str, *, json: Json = False) -> int:
    """Say how much of a campaign the store holds. Exit status 0 when nothing is missing, else 1.

    Example: pacore status hmmt.yaml --json

    Parameters
    ----------
    file
        the campaign file
    """
    states = {plan.campaign.name: status(Books(plan)) for plan in _plans(file)}
    if json:
        _print_by_campaign({name: {"complete": state.complete, **asdict(state)} for name, state in states.items()})
    else:
        for name, state in states.items():
            _print_table(
                ["method", "round", "done", "of", "failed"],
                [[s.method, str(s.round), f"{s.done:,}", f"{s.total:,}", str(s.failed)] for s in state.stages],
            )
            said = "complete" if state.complete else state.what_is_missing()
            out.print(f"{name}: {said}" if len(states) > 1 else said, soft_wrap=True, markup=False)
    return COMPLETE if all(state.complete for state in states.values()) else INCOMPLETE


@app.command(name="report")
def show_report(
    *files: str, folder: Annotated[str | None, Parameter(name="--out")] = None, json: Json = False, plot: Plot = False
) -> int:
    """Print the table of what the store holds, and write every table and figure of the paper that it allows.

    report.html, report.md, and each exhibit as CSV, PNG and SVG go to reports/NAME/ in the store. Several campaigns
    are set side by side.

    Example: pacore report hmmt.yaml --json > report.json

    Parameters
    ----------
    files
        one or more campaign files
    folder
        write to this folder, a path or URI, and not to the store
    """
    if not files:
        raise CampaignError("no campaign file given; for example pacore report hmmt.yaml")
    from tasks.report.report_files import write_report_files  # matplotlib takes a second to import

    campaigns = [Evidence(Books(plan)) for file in files for plan in _plans(file)]
    for one in campaigns:
        write_table(one.plan, one.lines)
    write_report_files(campaigns, folder or report_folder([one.plan for one in campaigns]))
    if json:
        _print_lines_as_json({one.plan.campaign.name: one.lines for one in campaigns})
    else:
        for one in campaigns:
            _print_lines(one.plan, one.lines)
            if plot:
                out.print(chart(one.lines), markup=False)
        page = f"{folder or report_folder([one.plan for one in campaigns])}/report.html"
        out.print(page, soft_wrap=True, markup=False)
    return COMPLETE if all(status(one.books).complete for one in campaigns) else INCOMPLETE


@app.command
def show(
    file: str,
    *,
    problem: str,
    method: str | None = None,
    run: int = 0,
    reasoning: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Walk one problem through its rounds: messages, which of them were right, where the answer turned.

    Example: pacore show hmmt.yaml --problem 7 --method medium

    Parameters
    ----------
    file
        the campaign file
    problem
        the problem's id
    method
        the method, by name; absent: the first that has rounds of its own
    run
        the run, from 0
    reasoning
        print reasoning in full
    """
    plan = _plan_with(file, problem)
    books = Books(plan)
    (walked,) = walks(books, [(plan.reasoning_method(method), find_problem(books, problem), run)])
    if json:
        _print_json(asdict(walked))
    else:
        out.print(as_text(walked, reasoning), soft_wrap=True, markup=False, emoji=False)
    return COMPLETE


@app.command
def compare(file: str, method: str, other: str, *, json: Json = False) -> int:
    """Compare two methods on the same problems: the difference, its 95 % interval, and p by permutation.

    Example: pacore compare hmmt.yaml medium sc@16

    Parameters
    ----------
    file
        the campaign file
    method
        a method of the campaign, or pass@N or sc@N over its pool
    other
        the one that it is held against
    """
    plans = _plans(file)
    compared = {plan.campaign.name: _compared(plan, method, other) for plan in plans}
    if json:
        _print_by_campaign({name: found and asdict(found) for name, found in compared.items()})
        return COMPLETE
    for name, found in compared.items():
        said = "no problem has a result of both"
        if found:
            low, high = (100 * end for end in found.interval)
            said = f"{100 * found.difference:+.1f} points, 95 % interval {low:.1f} to {high:.1f}, "
            said += f"p {found.p:.2g}, {found.problems} problems"
        out.print(f"{name}: {method} against {other}: {said}", soft_wrap=True, markup=False)
    return COMPLETE


def _compared(plan: Plan, method: str, other: str) -> Comparison | None:
    books = Books(plan)
    first, second = (accuracies(books, plan.comparable(name)) for name in (method, other))
    return paired(first, second)


@app.command
def serve(file: str, *, method: str | None = None, host: str = "127.0.0.1", port: int = 8000) -> int:
    """Offer a method as one chat model, at /v1/chat/completions, until it is stopped; SIGTERM lets answers end.

    Example: pacore serve hmmt.yaml --method low

    Parameters
    ----------
    file
        what is served: sampler, engine, method and more; or a campaign file
    method
        in place of the file's, such as low or "[16, 4]"
    host
        the address to listen on
    port
        the port to listen on
    """
    from flows.serve.server import serve as run_server

    asyncio.run(run_server(load_serving(file, method), host, port, _say))
    return COMPLETE


@app.command(name="deploy")
def deploy_flows(*, kubernetes: str | None = None) -> int:
    """Register the deployments, their work pool and the automations with the Prefect server. Safe to repeat.

    Example: pacore deploy --kubernetes infra/kubernetes/base-job-template.json

    Parameters
    ----------
    kubernetes
        the base job template of a work pool on Kubernetes; absent: a pool of processes
    """
    from flows.deploy import deploy  # Prefect takes seconds to import

    asyncio.run(deploy(kubernetes))
    return COMPLETE


@app.command
def curate(file: str, *, json: Json = False) -> int:
    """Sift problems for training: rules, decontamination, the filters of stages 1 and 2; print the funnel.

    Writes problems.jsonl, a benchmark for the campaign that makes the message pool; with that campaign's verdicts also
    released.parquet, and verl/train-000.parquet with synthesis prompts for verl. Exit status 1 where verdicts are
    missing.

    Example: pacore curate curation.yaml

    Parameters
    ----------
    file
        sources, benchmarks, out, campaign and more, see the README
    """
    curation = load_curation(file)
    from flows.curate import run_curation  # Prefect takes seconds to import

    steps = run_curation(curation)
    missing = sum(step.dropped[UNKNOWN] for step in steps)
    if json:
        _print_json([{"name": step.name, "left": step.left, "dropped": step.dropped} for step in steps])
    else:
        headings, *lines = funnel_table(steps)
        _print_table(headings, lines)
        for line in [*dropped_lines(steps), curation.out]:
            out.print(line, soft_wrap=True, markup=False)
    if missing:
        _say(f"{missing:,} problems have no verdict yet; run their campaign, then curate again")
    return INCOMPLETE if missing else COMPLETE


@pool.command(name="import")
def pool_import(rows: str, file: str, *, json: Json = False) -> int:
    """Take first-round trajectories from a JSONL or Parquet file into a campaign's pool. Safe to repeat.

    A row needs `problem` (an id of the benchmark) and `content`; `reasoning`, `draw`, `finish_reason`, `prompt_tokens`,
    `completion_tokens` and `reasoning_tokens` are taken where they stand.

    Example: pacore pool import texts.jsonl game24.yaml

    Parameters
    ----------
    rows
        the file of trajectories: a path or URI
    file
        the campaign file
    """
    plan = make_plan(load_campaign(file))
    return _say_count("imported", import_pool(plan, rows), json)


@pool.command(name="export")
def pool_export(file: str, rows: str, *, json: Json = False) -> int:
    """Write a campaign's pool to a JSONL or Parquet file that `pool import` takes.

    Example: pacore pool export hmmt.yaml pool.parquet

    Parameters
    ----------
    file
        the campaign file
    rows
        the file to write: a path or URI that ends in .jsonl or .parquet
    """
    plan = make_plan(load_campaign(file))
    return _say_count("exported", export_pool(plan, rows), json)


@patches.command(name="export")
def patches_export(file: str, folder: str, *, json: Json = False) -> int:
    """Write the patches that wait for SWE-bench's harness, in files of predictions that it takes.

    Then, for each file: python -m swebench.harness.run_evaluation --predictions_path predictions-000.jsonl …

    Example: pacore patches export swe.yaml patches/

    Parameters
    ----------
    file
        the campaign file
    folder
        the folder to write to: a path or URI
    """
    return _say_count("exported", len(export_patches(make_plan(load_campaign(file)), folder)), json)


@patches.command(name="import")
def patches_import(file: str, predictions: str, report: str, *, json: Json = False) -> int:
    """Take the harness's report of one file of predictions into a campaign's verdicts. Safe to repeat.

    Example: pacore patches import swe.yaml patches/predictions-000.jsonl swe-000.run.json

    Parameters
    ----------
    file
        the campaign file
    predictions
        a file that `patches export` wrote
    report
        what the harness wrote of it
    """
    return _say_count("imported", import_verdicts(make_plan(load_campaign(file)), predictions, report), json)


def main() -> None:
    """Run the command line; every expected failure is one line on standard error."""
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter("pacore: %(message)s"))
    logging.getLogger("pacore").addHandler(warnings)
    try:
        sys.exit(app(sys.argv[1:], exit_on_error=False, print_error=False))
    except CycloptsError as error:
        _fail(f"{' '.join(str(error).split())} See pacore --help", BAD_INPUT)
    except (CampaignError, EngineError, StoreError, PrefectError) as error:
        _fail(str(error), BAD_INPUT)
    except InterruptedRunError as error:
        _fail(str(error), INCOMPLETE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail("stopped; run the campaign again to go on", INCOMPLETE)


def _fail(text: str, code: int) -> None:
    _say(text)
    sys.exit(code)


def _say(text: str) -> None:
    err.print(f"pacore: {text}", soft_wrap=True, markup=False)


def _plans(file: str) -> list[Plan]:
    return [make_plan(campaign) for campaign in load_campaigns(file)]


def _plan_with(file: str, problem: str) -> Plan:
    """Of the campaigns of a file the first that has the problem, else the first."""
    plans = _plans(file)
    return next((plan for plan in plans if any(one.id == problem for one in plan.problems)), plans[0])


def _print_lines_as_json(tables: dict[str, list[Line]]) -> None:
    _print_by_campaign({name: [asdict(line) for line in lines] for name, lines in tables.items()})


def _print_by_campaign(values: dict[str, Any]) -> None:
    """The value of the only campaign; where there are several, an object with one each."""
    _print_json(values if len(values) > 1 else next(iter(values.values())))


def _print_lines(plan: Plan, lines: list[Line]) -> None:
    out.print(caption(plan), markup=False)
    _print_table(HEADINGS, [cells(line) for line in lines])
    out.print("TTC, spent: completion tokens a problem")


def _print_due(lines: list[Due], superseded: int) -> None:
    _print_table(
        ["method", "round", "problems", "runs", "trajectories at most"],
        [[d.method, str(d.round), str(d.problems), str(d.runs or ""), f"{d.trajectories:,}"] for d in lines],
    )
    out.print(
        f"{superseded:,} trajectories superseded; the old ones stay readable" if superseded else "nothing superseded"
    )


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    table = Table(*headings, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(escape, row))
    whole = out if out.is_terminal else Console(highlight=False, width=200)  # a pipe has no width of its own
    whole.print(table)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _say_count(verb: str, count: int, as_json_: bool) -> int:
    if as_json_:
        _print_json({verb: count})
    else:
        out.print(f"{verb} {count:,} trajectories")
    return COMPLETE


if __name__ == "__main__":
    main()
