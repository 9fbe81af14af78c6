"""The `pacore` command."""

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from infra.engine import EngineError
from infra.filesystem import StoreError
from tasks.books import Books
from tasks.campaign_file import CampaignError, load_campaign
from tasks.chart import chart
from tasks.plan import Plan, calls, make_plan, token_bound
from tasks.pool_file import export_pool, import_pool
from tasks.record import as_json, write_report
from tasks.report import report
from tasks.status import status
from tasks.table_text import HEADINGS, caption, cells

COMPLETE, INCOMPLETE, BAD_INPUT = 0, 1, 2

app = App(
    name="pacore",
    help="Campaigns of coordinated reasoning: an LLM thinks in rounds (PaCoRe, arXiv 2601.05593).",
    help_epilogue="Exit status: 0 complete, 1 incomplete or failed, 2 bad input.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
pool = App(name="pool", help="First-round trajectories from and to a file.")
app.command(pool)

Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON instead of tables")]
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
    plan = make_plan(load_campaign(file))
    missing = None
    if not status(Books(plan)).complete:
        from prefect.exceptions import TerminationSignal  # Prefect takes seconds to import

        from flows.run import run_campaign

        try:
            missing = asyncio.run(run_campaign(plan, err))
        except TerminationSignal:  # what Prefect makes of SIGTERM while a flow runs
            raise KeyboardInterrupt from None
    if missing:
        _say(missing)
    with contextlib.suppress(*(StoreError,) if missing else ()):  # the store may be what failed
        _print_report(plan, json)
    return INCOMPLETE if missing else COMPLETE


@app.command
def validate(file: str, *, json: Json = False) -> int:
    """Check a campaign file and print its plan; asks neither the engine nor the store.

    Example: pacore validate hmmt.yaml

    Parameters
    ----------
    file
        the campaign file
    """
    plan = make_plan(load_campaign(file))
    lines = calls(plan)
    bound = token_bound(plan)
    if json:
        _print_json(
            {
                "problems": len(plan.problems),
                "shards": len(plan.shards),
                "rounds": [asdict(line) for line in lines],
                "calls": sum(line.calls for line in lines),
                "tokens_at_most": bound,
            }
        )
        return COMPLETE
    out.print(f"{caption(plan)}, runs {plan.campaign.runs}, shards {len(plan.shards)}", soft_wrap=True)
    _print_table(
        ["method", "round", "prompts", "calls"],
        [[line.method, str(line.round), f"{line.prompts:,}", f"{line.calls:,}"] for line in lines],
    )
    tokens = f" and {bound:,} tokens" if bound else "; for a bound of tokens set sampler.max_tokens or engine.window"
    out.print(f"at most {sum(line.calls for line in lines):,} calls{tokens}", soft_wrap=True)
    return COMPLETE


@app.command(name="status")
def show_status(file: str, *, json: Json = False) -> int:
    """Say how much of a campaign the store holds. Exit status 0 when nothing is missing, else 1.

    Example: pacore status hmmt.yaml --json

    Parameters
    ----------
    file
        the campaign file
    """
    state = status(Books(make_plan(load_campaign(file))))
    if json:
        _print_json({"complete": state.complete, **asdict(state)})
    else:
        headings = ["method", "round", "done", "of", "failed"]
        _print_table(
            headings,
            [[s.method, str(s.round), f"{s.done:,}", f"{s.total:,}", str(s.failed)] for s in state.stages],
        )
        out.print("complete" if state.complete else state.what_is_missing(), soft_wrap=True)
    return COMPLETE if state.complete else INCOMPLETE


@app.command(name="report")
def show_report(file: str, *, json: Json = False, plot: Plot = False) -> int:
    """Print the table of what the store holds, and write it to reports/ in the store.

    Example: pacore report hmmt.yaml --json > report.json

    Parameters
    ----------
    file
        the campaign file
    """
    plan = make_plan(load_campaign(file))
    books = Books(plan)
    lines = report(books)
    write_report(plan, lines)
    _print_report(plan, json)
    if plot and not json:
        out.print(chart(lines), markup=False)
    return COMPLETE if status(books).complete else INCOMPLETE


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


def main() -> None:
    """Run the command line; every expected failure is one line on standard error."""
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter("pacore: %(message)s"))
    logging.getLogger("pacore").addHandler(warnings)
    try:
        sys.exit(app(sys.argv[1:], exit_on_error=False, print_error=False))
    except CycloptsError as error:
        _fail(f"{' '.join(str(error).split())} See pacore --help", BAD_INPUT)
    except (CampaignError, EngineError, StoreError) as error:
        _fail(str(error), BAD_INPUT)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail("stopped; run the campaign again to go on", INCOMPLETE)


def _fail(text: str, code: int) -> None:
    _say(text)
    sys.exit(code)


def _say(text: str) -> None:
    err.print(f"pacore: {text}", soft_wrap=True, markup=False)


def _print_report(plan: Plan, as_json_: bool) -> None:
    lines = report(Books(plan))
    if as_json_:
        sys.stdout.write(as_json(lines) + "\n")
        return
    out.print(caption(plan))
    _print_table(HEADINGS, [cells(line) for line in lines])
    out.print("TTC, spent: completion tokens a problem")


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    table = Table(*headings, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
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
