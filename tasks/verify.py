"""Read every row of a campaign's store and hold it against what it claims: key, seed, prompt, references, counts."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import pyarrow as pa
import pyarrow.compute as pc

from infra.table import Row, Table
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan
from tasks.campaign.prompt import PromptTemplate, template_of
from tasks.compaction import conclusion, full
from tasks.fingerprint import draw_number, prompt_fingerprint, seed_of, trajectory_id
from tasks.problem import Problem
from tasks.reasoning.draw import chosen_from_pool, pool_draw
from tasks.reasoning.fit import as_sent
from tasks.store.reruns import Reruns
from tasks.store.rounds import RoundKey, round_id, round_key
from tasks.store.tables import rounds_table, trajectories_table, verdicts_table

MOVE = "`--repair` moves them to quarantine/, then `pacore run` does their rows again"
SUPERSEDE = "`--repair` supersedes them, then `pacore run` does them again"
AGAIN = "`pacore run` does them again"
FILES, ID, SEED, MESSAGE, PROMPT, REFERENCES, WIDTH, STRANGE, DANGLING, VERDICTS = KINDS = (
    "files that are no whole part",
    "trajectories whose id is not that of sampler, prompt and draw",
    "trajectories whose seed is not that of their id",
    "trajectories whose message is not the conclusion of their content",
    "trajectories whose prompt is not the template over the messages of their references",
    "trajectories with references that are not of the round before",
    "rounds whose width, trajectories and missing do not agree",
    "rounds that hold what was not drawn for them",
    "rounds whose trajectories are not all there",
    "verdicts whose trajectory is not there",
)
REMEDIES = {FILES: MOVE, DANGLING: AGAIN, VERDICTS: AGAIN}
MIXTURES = 4_096
"""Where stored rows of one key differ in text a prompt may quote any of them: so many mixtures are tried."""
CHECKED = ["id", "generation", "problem", "prompt", "draw", "seed", "references", "error", "message", "content"]
QUOTED = ["id", "generation", "prompt", "draw", "references", "overflow", "message"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: how often, where for the first time, and what to do."""

    kind: str
    count: int
    example: str
    remedy: str


@dataclass
class Verification:
    """What `verify` read and found.

    `rows`, `duplicates` by table; a duplicate is a row beyond the one of its key that counts and does no harm.
    `superseded`: rows that were asked for again, which nothing is held against. `untold`: prompts that quote rows of
    which too many versions are stored to try them all.
    """

    rows: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    superseded: int = 0
    untold: int = 0
    files: list[tuple[Table, str]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    noted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def findings(self) -> list[Finding]:
        """In the order of `KINDS`."""
        return [
            Finding(kind, len(noted), noted[0], REMEDIES.get(kind, SUPERSEDE))
            for kind in KINDS
            if (noted := self.noted.get(kind))
        ]


def verify(plan: Plan) -> Verification:
    """Read all rows of the campaign's sampler, also other campaigns'. Nothing is changed.

    Ids, seeds and messages are checked of every row, prompts and draws where this campaign's methods made them.

    Raises:
        StoreError: the store can not be read.
    """
    reader = _Reader(plan)
    reader.read()
    return reader.found


def repair(plan: Plan, found: Verification) -> None:
    """Move bad files aside and supersede wrong rows. Raises `StoreError`."""
    for table, path in found.files:
        table.set_aside(path, plan.partition)
    if found.wrong:
        Reruns(plan.campaign.store, plan.partition).demand(found.wrong)


class _Reader:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.found = Verification()
        self.reruns = Reruns(plan.campaign.store, plan.partition)
        self.trajectories = trajectories_table(plan.campaign.store)
        self._methods = {recipe: plan.method(name) for name, recipe in plan.recipes.items()}
        self._finished: set[tuple[str, int]] = set()
        self._there: set[str] = set()
        self._rounds: dict[RoundKey, list[Row]] = defaultdict(list)
        self._holding: dict[str, list[Row]] = defaultdict(list)

    def read(self) -> None:
        """What refers is read before what it refers to: others may write meanwhile."""
        store = self.plan.campaign.store
        verdicts = [row for rows in self._inspect(verdicts_table(store)) for row in _rows(rows, ["id", "generation"])]
        rounds = [row for rows in self._inspect(rounds_table(store)) for row in rows.to_pylist()]
        list(self._inspect(self.reruns.table))
        self.reruns.refresh()
        for rows in self._inspect(self.trajectories):
            for row in _rows(rows, CHECKED):
                if self._holds(row, row["id"]):
                    self._check_trajectory(row)
        for row in rounds:
            self._rounds[round_key(row)].append(row)
            if self._holds(row, round_id(row), *row["trajectories"]):
                self._holding[row["problem"]].append(row)
                self._check_round(row)
        for row in verdicts:
            if self._holds(row, row["id"]) and (row["id"], row["generation"]) not in self._finished:
                self._note(VERDICTS, row["id"])
        for problems in self.plan.shards:
            self._check_prompts(problems)

    def _inspect(self, table: Table) -> Iterator[pa.Table]:
        keys = [table.schema.empty_table().select(table.key)]
        for file in table.inspect(self.plan.partition):
            if file.rows is None:
                self.found.files.append((table, file.path))
                self._note(FILES, f"{file.path}: {file.fault}")
            else:
                keys.append(file.rows.select(table.key))
                yield file.rows
        every = pa.concat_tables(keys)
        self.found.rows[table.name] = every.num_rows
        self.found.duplicates[table.name] = every.num_rows - every.group_by(table.key).aggregate([]).num_rows

    def _holds(self, row: Row, *ids: str) -> bool:
        """Whether a row was not asked for again."""
        holds: bool = row["generation"] >= max(map(self.reruns.generation, ids))
        self.found.superseded += not holds
        return holds

    def _note(self, kind: str, example: str, wrong: str | None = None) -> None:
        self.found.noted[kind].append(example)
        if wrong:
            self.found.wrong.add(wrong)

    def _check_trajectory(self, row: Row) -> None:
        id = row["id"]
        if id != trajectory_id(self.plan.sampler, row["prompt"], row["draw"]):
            self._note(ID, id, id)
        if row["seed"] != seed_of(id):
            self._note(SEED, f"{id}: {row['seed']}", id)
        if not row["references"] and row["prompt"] != row["problem"]:
            self._note(PROMPT, id, id)
        if row["error"] is None:
            self._finished.add((id, row["generation"]))
            self._there.add(id)
            if row["message"] != conclusion(row["content"]):
                self._note(MESSAGE, id, id)

    def _check_round(self, row: Row) -> None:
        ids, name = row["trajectories"], _name(row)
        method, number, width = self._methods.get(row["recipe"]), row["round"], row["width"]
        if method and width not in method.widths[number - 1 : number]:
            self._note(WIDTH, f"{name}: width {width}", round_id(row))
        elif len(ids) + row["missing"] != width or len(set(ids)) < len(ids):
            self._note(
                WIDTH, f"{name}: {len(ids)} trajectories, {row['missing']} missing of {row['width']}", round_id(row)
            )
        if missing := [id for id in ids if id not in self._there]:
            self._note(DANGLING, f"{name}: {missing[0]}")

    def _check_prompts(self, problems: Sequence[Problem]) -> None:
        """Prompts and draws of the rounds that this campaign's methods made on some problems."""
        loaded = [*QUOTED, "reasoning", "content"] if self._quotes_whole_trajectories() else QUOTED
        where = pc.field("problem").isin([problem.fingerprint for problem in problems]) & pc.field("error").is_null()
        versions: dict[str, list[Row]] = defaultdict(list)
        for row in _rows(self.trajectories.read_every(self.plan.partition, loaded, where), loaded):
            versions[row["id"]].append(row)
        for problem in problems:
            for row in self._holding[problem.fingerprint]:
                method = self._methods.get(row["recipe"])
                if method and row["width"] in method.widths[row["round"] - 1 : row["round"]]:
                    self._check_draws(row, method, problem, versions)

    def _quotes_whole_trajectories(self) -> bool:
        return any(round.compaction == "full" for method in self.plan.methods for round in method.rounds)

    def _check_draws(self, row: Row, method: Method, problem: Problem, versions: dict[str, list[Row]]) -> None:
        run, number, ids = row["run"], row["round"], row["trajectories"]
        if number == 1:
            drawn = chosen_from_pool(problem.fingerprint, run, row["width"], self.plan.campaign.pool)
            if not set(ids) <= {pool_draw(self.plan, problem, draw).id for draw in drawn}:
                self._note(STRANGE, _name(row), round_id(row))
            return
        before = self._rounds[row["recipe"], row["problem"], run, number - 1]
        shown = {id for earlier in before for id in earlier["trajectories"]}
        kept = _full if method.rounds[number - 2].compaction == "full" else _message
        template = template_of(method.rounds[number - 1].prompt, self.plan.template)
        draws = {draw_number(number, run, row["width"], k) for k in range(row["width"])}
        for id in ids:
            of_id = [version for version in versions[id] if version["generation"] >= self.reruns.generation(id)]
            if any(version["draw"] not in draws for version in of_id):
                self._note(STRANGE, f"{_name(row)}: {id}", round_id(row))
            told = {reference for version in of_id for reference in version["references"]}
            strangers = {other for other in told - shown if not self._says_what(other, shown, kept, versions)}
            if strangers:
                self._note(REFERENCES, f"{id} of {_name(row)}", id)
            elif not all(self._is_written(version, problem, template, kept, versions) for version in of_id):
                self._note(PROMPT, f"{id} of {_name(row)}", id)

    def _says_what(self, id: str, shown: set[str], kept: Callable[[Row], str], versions: dict[str, list[Row]]) -> bool:
        """Whether it says the same as one of those shown: equal prompts are one prompt, whoever asked for it first."""
        texts = {kept(version) for version in versions[id]}
        return any(kept(version) in texts for other in shown for version in versions[other])

    def _is_written(
        self,
        row: Row,
        problem: Problem,
        template: PromptTemplate,
        kept: Callable[[Row], str],
        versions: dict[str, list[Row]],
    ) -> bool:
        """Whether a prompt is the template over stored messages. What quotes a lost row, the lost row's round tells."""
        texts = [sorted({kept(version) for version in versions[id]}) for id in row["references"]]
        if not all(texts):
            return True
        if prod(map(len, texts)) > MIXTURES:
            self.found.untold += 1
            return True
        written = (template.write(problem.chat, as_sent(mix, row["overflow"])) for mix in product(*texts))
        return any(prompt_fingerprint(chat) == row["prompt"] for chat in written)


def _rows(rows: pa.Table, columns: Sequence[str]) -> Iterator[Row]:
    for batch in rows.select(list(columns)).to_batches(max_chunksize=1_000):
        yield from batch.to_pylist()


def _message(row: Row) -> str:
    return str(row["message"])


def _full(row: Row) -> str:
    return full(row["reasoning"], row["content"])


def _name(row: Row) -> str:
    return f"{row['method']} run {row['run']} round {row['round']} of {row['problem_id']}"
