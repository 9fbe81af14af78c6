"""Kill a campaign in every way there is and see what it loses: `make chaos`.

Prints a line a fault. `lost`: trajectories that were seen committed and are not there at the end, as they were.
`duplicated`: keys that a reader finds twice. `differing`: rows of the three tables that an undisturbed campaign has
not, or has otherwise. `extra tokens`: what the engine generated beyond what the undisturbed campaign took.
`s to recover`: from a restart to the next committed row. The last line is one JSON object of sums, `kills` being
SIGKILLs of a run; its `extra_token_ratio` is that of the campaign killed most often. Exit status 1 where a zero is
none.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.chaos.scenarios import FULL, GRACE_SECONDS, QUICK, Outcome, Stage
from tests.chaos.servers import AbsentError

MANY_KILLS, EXTRA_TOKENS_AT_MOST = 50, 0.05
FUZZ_INPUTS = 10_000


def main(
    *,
    seed: int = 0,
    quick: Annotated[bool, Parameter(negative="")] = False,
    only: tuple[int, ...] = (),
    fuzz: Annotated[bool, Parameter(negative="--no-fuzz")] = True,
) -> int:
    """Run the scenarios.

    Parameters
    ----------
    seed
        of the moments, the faults and the mutations
    quick
        the short selection that the tests run
    only
        these lines of the table, from 1
    fuzz
        also feed mutated files, replies and parts
    """
    folder = Path(tempfile.mkdtemp(prefix="pacore-chaos-"))
    stage, outcomes, good = Stage(folder, seed), [], True
    with stage.servers:
        for number, scenario in enumerate(QUICK if quick else FULL, 1):
            if only and number not in only:
                continue
            began = time.monotonic()
            try:
                outcomes.append(scenario(stage))
            except AbsentError as absent:
                print(f"skipped: {absent}", flush=True)
                continue
            except (RuntimeError, OSError) as error:
                print(f"{scenario.run.__name__}: {error}", flush=True)
                good = False
                continue
            print(f"{' · '.join(cells(outcomes[-1]))} ({time.monotonic() - began:.0f} s)", flush=True)
    good &= all(map(is_good, outcomes))
    if fuzz:
        command = [sys.executable, "-m", "tests.chaos.fuzz", "--seed", str(seed)]
        inputs = ["--inputs", "300" if quick else str(FUZZ_INPUTS)]
        good &= subprocess.run([*command, *inputs], check=False).returncode == 0
    show(outcomes)
    if good:
        shutil.rmtree(folder)
    else:
        print(f"kept for the autopsy: {folder}")
    print(json.dumps(summary(outcomes)))
    return 0 if good else 1


def is_good(outcome: Outcome) -> bool:
    """Whether nothing was lost, and no more was done again than may be."""
    zeros = not (outcome.lost or outcome.duplicated or outcome.differing or outcome.tracebacks)
    return zeros and (outcome.slowest_exit or 0) <= GRACE_SECONDS and cheap(outcome)


def cheap(outcome: Outcome) -> bool:
    """Whether the many kills of one campaign cost few tokens; the others are measured without a limit."""
    return outcome.kills < MANY_KILLS or (outcome.extra_tokens or 0) <= EXTRA_TOKENS_AT_MOST


HEADINGS = ["fault", "times", "lost", "duplicated", "differing", "extra tokens", "s to recover", "runs"]


def cells(outcome: Outcome) -> list[str]:
    """A line of the table."""
    extra, recover = outcome.extra_tokens, outcome.seconds_to_recover
    return [
        outcome.fault + (f", {len(outcome.tracebacks)} TRACEBACKS" if outcome.tracebacks else ""),
        f"{outcome.times:,}",
        str(outcome.lost),
        str(outcome.duplicated),
        str(outcome.differing),
        "" if extra is None else f"{extra:+.1%}",
        "" if recover is None else f"{recover:.1f}",
        str(outcome.runs),
    ]


def show(outcomes: list[Outcome]) -> None:
    """The table."""
    table = Table(*HEADINGS, box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for outcome in outcomes:
        table.add_row(*cells(outcome))
    Console(width=140, highlight=False).print(table)
    for outcome in outcomes:
        for said in outcome.tracebacks:
            print(f"--- {outcome.fault}\n{said}")


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """The JSON line."""
    most = max(outcomes, key=lambda outcome: outcome.kills, default=None)
    return {
        "kills": sum(outcome.kills for outcome in outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "duplicated": sum(outcome.duplicated for outcome in outcomes),
        "differing": sum(outcome.differing for outcome in outcomes),
        "extra_token_ratio": round(most.extra_tokens or 0, 4) if most else 0,
    }


if __name__ == "__main__":
    App(default_command=main, result_action="return_int_as_exit_code_else_zero")()
