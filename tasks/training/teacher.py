"""What the model is taught to write: workings and conclusions, with nothing in them it cannot know.

A *turn* is a list of spans (text, weight): the assistant's whole text, each span with its weight in
the loss. Both modes of `countdown` search alike: at most TRIES expressions, drawn at random, are
evaluated, and the first that reaches the target ends the working. No draw knows a solution. With
references the model first quotes one that claims the target and evaluates it again; then it tries,
as without, and passes over what a reference tried before.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.benchmarks import arithmetic, countdown
from tasks.training.prompts import END_THINK, THINK

Span = tuple[str, float]
Turn = list[Span]

TRIES, PROPOSALS = 2, 8
PLAIN, VALUE, DECISION = 1.0, 3.0, 4.0
UNSEEN_ODDS = 3.0  # an untried expression is proposed this many times as often as a tried one


def text_of(turn: Turn) -> str:
    """The turn as plain text."""
    return "".join(text for text, _ in turn)


# --- countdown -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One line of a reference: an expression and the value that it is said to have."""

    expression: str
    value: int


def countdown_turn(
    chooser: random.Random,
    numbers: countdown.Numbers,
    target: int,
    references: Sequence[Sequence[Claim]] = (),
    choice: float = 1.0,
    drill: bool = False,
) -> Turn:
    """One working and its conclusion; the references' claims may belong to another problem.

    `choice` is the weight of the tokens that choose a try.
    A drill is for the verdicts, of which too few are "yes" otherwise: a solution is among the
    tries, and the choice of the tries has no weight, so that nothing is learned of where to look.
    """
    turn: Turn = [(f"{THINK}\n", PLAIN)]
    own = countdown.expressions(numbers)
    answer = _quote(chooser, turn, own, target, references)
    tried = [answer] if answer else _search(chooser, turn, own, target, references, choice, drill)
    turn.append((f"{END_THINK}\n\n", PLAIN))
    return [*turn, (countdown_message(tried), PLAIN)]


def countdown_message(tried: Sequence[Claim]) -> str:
    """The conclusion: what was tried before, and the last try as the answer. Values stand first."""
    *failed, last = (f"{claim.value}={claim.expression}" for claim in tried)
    before = f"Tried: {', '.join(failed)}.\n" if failed else ""
    return f"{before}Answer: {last}"


def _quote(
    chooser: random.Random,
    turn: Turn,
    own: dict[str, int],
    target: int,
    references: Sequence[Sequence[Claim]],
) -> Claim | None:
    """Quote references that claim the target, at most two, until one holds."""
    claims = [
        (claim.expression, index)
        for index, reference in enumerate(references, start=1)
        for claim in reference
        if claim.value == target
    ]
    quoted: set[str] = set()
    while claims and len(quoted) < 2:
        expression, index = chooser.choice(claims)
        claims = [claim for claim in claims if claim[0] != expression]
        quoted.add(expression)
        turn.append((f"{target}={expression}", DECISION))
        if expression not in own:
            turn.append((" other numbers", DECISION))
            turn.append(("\n", PLAIN))
            break
        step = countdown.evaluation(expression)
        assert step is not None
        turn.append((f"={step[0][0]}={own[expression]}", VALUE))
        if own[expression] == target:
            turn.append((" yes", DECISION))
            turn.append((f", reference {index}\n", 0.5))
            return Claim(expression, target)
        turn.append((" no", DECISION))
        turn.append(("\n", PLAIN))
    return None


def _search(
    chooser: random.Random,
    turn: Turn,
    own: dict[str, int],
    target: int,
    references: Sequence[Sequence[Claim]],
    choice: float,
    drill: bool,
) -> list[Claim]:
    """Propose at random, pass over what was tried, evaluate the rest: at most TRIES of them."""
    seen = {claim.expression for reference in references for claim in reference}
    left = {expression: 1.0 if expression in seen else UNSEEN_ODDS for expression in own}
    tried: list[Claim] = []
    hit = chooser.randrange(TRIES) if drill else None
    for proposal in range(PROPOSALS):
        pool = left
        if proposal == hit:
            pool = {expression: 1.0 for expression in left if own[expression] == target} or left
        expression = chooser.choices(list(pool), list(pool.values()))[0]
        del left[expression]
        first, rest = _first_token(expression)
        deciding = max(choice, DECISION / 2) if references and not proposal else choice
        turn += [(first, 0.0 if drill else deciding), (rest, 0.0 if drill else choice)]
        if expression in seen and left and (tried or proposal < PROPOSALS - 1):
            turn.append((" seen", DECISION))
            turn.append(("\n", PLAIN))
            continue
        step = countdown.evaluation(expression)
        assert step is not None
        value = own[expression]
        turn.append(("=", DECISION))
        turn.append((f"{step[0][0]}={value}", VALUE))
        turn.append((" yes" if value == target else " no", DECISION))
        turn.append(("\n", PLAIN))
        tried.append(Claim(expression, value))
        if value == target or len(tried) == TRIES or not left:
            break
    return tried


def _first_token(expression: str) -> tuple[str, str]:
    """The first number or bracket, which also decides against a quote, and what follows it."""
    first = "(" if expression.startswith("(") else re.split(r"\D", expression)[0]
    return first, expression[len(first) :]


def countdown_reference(
    chooser: random.Random,
    numbers: countdown.Numbers,
    target: int,
    outcome: bool | None = None,
    slip: float = 0.02,
) -> list[Claim]:
    """Claims as the model's own bare answers make them; `outcome` asks for a right or a wrong one.

    With chance `slip` a value is wrong, which may make a wrong expression claim the target.
    """
    own = countdown.expressions(numbers)
    good = [expression for expression, value in own.items() if value == target]
    bad = [expression for expression, value in own.items() if value != target]
    order = chooser.sample(list(own), min(TRIES, len(own)))
    if outcome is False:
        order = chooser.sample(bad, min(TRIES, len(bad)))
    if outcome is True:
        place = chooser.randrange(TRIES + 1)  # a quoted answer stands alone, hence one more
        order = [*chooser.sample(bad, min(place % TRIES, len(bad))), chooser.choice(good)]
    claims: list[Claim] = []
    for expression in order:
        value = own[expression]
        if outcome is None and chooser.random() < slip:
            value = target if chooser.random() < 0.4 else chooser.randint(0, countdown.LIMIT)
        claims.append(Claim(expression, value))
        if value == target:
            break
    return claims


# --- arithmetic ------------------------------------------------------------------------------


class Slips:
    """A hand that slips: passes a value on, or, with a given chance, a wrong one."""

    def __init__(self, chooser: random.Random, chance: float) -> None:
        self._chooser, self._chance = chooser, chance

    def __call__(self, value: int, limit: int) -> int:
        """The value, or a slip of it within 0..limit: off by a step in one place, or a guess."""
        if self._chooser.random() >= self._chance:
            return value
        places = [10**place for place in range(len(str(value)))]
        steps = [sign * step * place for place in places for step in (1, 2) for sign in (1, -1)]
        near = [value + step for step in steps if 0 <= value + step <= limit]
        slip: int = self._chooser.choice([*near, self._chooser.randint(0, limit)])
        return slip


def arithmetic_turn(question: arithmetic.Question, slips: Slips) -> Turn:
    """Working in columns, rows or squares, then the partial results and the answer."""
    work = {"+": _add, "-": _subtract, "*": _multiply, "^": _power}[question.operation]
    lines, partial, answer = work(question, slips)
    return [
        (f"{THINK}\n" + "".join(f"{line}\n" for line in lines), PLAIN),
        (f"{END_THINK}\n\n", PLAIN),
        (f"{partial}.\nAnswer: {answer}", PLAIN),
    ]


Work = tuple[list[str], str, str]


def _digits(number: int) -> list[int]:
    """Decimal digits, the last first."""
    return [int(digit) for digit in reversed(str(number))]


def _add(question: arithmetic.Question, slips: Slips) -> Work:
    lines, sums, carry, out = [f"{question.a}+{question.b}"], [], 0, ""
    for digit, other in zip(_digits(question.a), _digits(question.b), strict=True):
        sums.append(slips(digit + other + carry, 19))
        lines.append(f"{digit}+{other}+{carry}={sums[-1]}")
        carry, out = sums[-1] // 10, str(sums[-1] % 10) + out
    return lines, f"Sums {', '.join(map(str, sums))}", (str(carry) if carry else "") + out


def _subtract(question: arithmetic.Question, slips: Slips) -> Work:
    lines, rests, borrow, out = [f"{question.a}-{question.b}"], [], 0, ""
    for digit, other in zip(_digits(question.a), _digits(question.b), strict=True):
        upper = digit if digit >= other + borrow else digit + 10
        rests.append(slips(upper - other - borrow, 9))
        lines.append(f"{upper}-{other}-{borrow}={rests[-1]}")
        borrow, out = int(upper > digit), str(rests[-1]) + out
    return lines, f"Rests {', '.join(map(str, rests))}", out.lstrip("0") or "0"


def _multiply(question: arithmetic.Question, slips: Slips) -> Work:
    tens, ones = question.b // 10 * 10, question.b % 10
    rows = [slips(question.a * factor, 10**4) for factor in (tens, ones)]
    total = slips(sum(rows), 10**4)
    lines = [f"{question.a}*{factor}={row}" for factor, row in zip((tens, ones), rows, strict=True)]
    lines.append(f"{rows[0]}+{rows[1]}={total}")
    return lines, f"Rows {rows[0]}, {rows[1]}", str(total)


def _power(question: arithmetic.Question, slips: Slips) -> Work:
    exponents = [question.b]
    while exponents[-1] > 1:
        exponents.append(exponents[-1] // 2)
    lines, values, value = [",".join(map(str, exponents))], [], question.a
    for exponent in reversed(exponents[:-1]):
        line = f"{exponent}:{value}*{value}="
        value = slips(value * value % question.prime, question.prime - 1)
        line += str(value)
        if exponent % 2:
            line += f"*{question.a}="
            value = slips(value * question.a % question.prime, question.prime - 1)
            line += str(value)
        lines.append(line)
        values.append(value)
    return lines, f"Powers {', '.join(map(str, values))}", str(value)
