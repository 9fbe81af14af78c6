"""What the model is taught to write: workings and conclusions, with nothing in them it cannot know.

A *turn* is a list of spans (text, weight): the assistant's whole text, each span with its weight in
the loss. Both modes of `countdown` search alike: at most TRIES expressions, drawn at random, are
evaluated, and the first that reaches the target ends the working. No draw knows a solution. With
references the model first quotes one that claims the target and evaluates it again; then it tries,
as without, and passes over what a reference tried before. The conclusion begins right after `</think>`:
engines differ in whether they keep newlines there.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.benchmarks import arithmetic, countdown
from tasks.compaction import conclusion
from tasks.training.prompts import END_THINK, THINK

Span = tuple[str, float]
Turn = list[Span]

TRIES, PROPOSALS = 2, 8
PLAIN, VALUE, DECISION = 1.0, 3.0, 4.0
SLIP, LETTERS = 0.08, "abcdefghij"
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
    turn.append((END_THINK, PLAIN))
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


class Hand:
    """Works in steps, each a calculation in small numbers under a letter of its own, and slips now and then.

    A step's value is what most references say of it. Where no two agree, or two values tie, it is
    computed, and with chance SLIP, unnoticed, wrong: the same chance with references and without.
    """

    def __init__(self, chooser: random.Random, references: Sequence[Sequence[int]] = (), slip: float = SLIP) -> None:
        self._chooser, self._references, self._slip = chooser, references, slip
        self.lines: list[str] = []
        self.values: list[int] = []

    def step(self, calculation: str, value: int, limit: int) -> int:
        """Write the next step down, `value` being its true value, and return what it is taken for, 0..limit."""
        place = len(self.values)
        said = Counter(values[place] for values in self._references if place < len(values)).most_common(2)
        if said and said[0][1] > max(1, said[1][1] if len(said) > 1 else 0):
            value = said[0][0]
        elif self._chooser.random() < self._slip:
            near = {value + step for step in (-10, -2, -1, 1, 2, 10)} & set(range(limit + 1))
            value = self._chooser.choice(
                [*sorted(near), self._chooser.choice([*range(value), *range(value + 1, limit + 1)])]
            )
        self.values.append(value)
        self.lines.append(f"{calculation} {LETTERS[place]}{value}")
        return value

    @property
    def said(self) -> str:
        """What the conclusion says of the steps."""
        return "Steps =" + "".join(f" {letter}{value}" for letter, value in zip(LETTERS, self.values, strict=False))


def arithmetic_turn(question: arithmetic.Question, hand: Hand) -> Turn:
    """The question, the steps one by one, then the steps' values and the answer that they make."""
    work = {"+": _add, "-": _subtract, "*": _multiply, "^": _power}[question.operation]
    answer = work(question, hand)
    lines = [f"{question.a}{question.operation}{question.b}", *hand.lines]
    return [
        (f"{THINK}\n" + "".join(f"{line}\n" for line in lines), PLAIN),
        (END_THINK, PLAIN),
        (f"{hand.said}.\nAnswer: {answer}", PLAIN),
    ]


def arithmetic_reference(chooser: random.Random, question: arithmetic.Question, slip: float) -> tuple[list[int], str]:
    """The values of a bare answer's steps, and its message."""
    hand = Hand(chooser, slip=slip)
    return hand.values, conclusion(text_of(arithmetic_turn(question, hand)))


def _digits(number: int) -> list[int]:
    """Decimal digits, the last first."""
    return [int(digit) for digit in reversed(str(number))]


def _number(*digits: int) -> int:
    """The number of these digits, the first the highest; it may be more than a digit."""
    return int("".join(map(str, digits)))


def _add(question: arithmetic.Question, hand: Hand) -> int:
    sums, carry = [], 0
    for a, b in zip(_digits(question.a), _digits(question.b), strict=True):
        sums.append(hand.step(f"{a}+{b}+{carry}", a + b + carry, 19))
        carry = sums[-1] // 10
    return _number(sums[-1], *(value % 10 for value in reversed(sums[:-1])))


def _subtract(question: arithmetic.Question, hand: Hand) -> int:
    rests, borrow = [], 0
    for a, b in zip(_digits(question.a), _digits(question.b), strict=True):
        upper = a if a >= b + borrow else a + 10
        rests.append(hand.step(f"{upper}-{b}-{borrow}", upper - b - borrow, 9))
        borrow = int(upper > a)
    return _number(*reversed(rests))


def _multiply(question: arithmetic.Question, hand: Hand) -> int:
    """Two rows of a digit times a number, then their sum by columns."""
    (a, b), rows = _digits(question.a), []
    for digit in _digits(question.b):
        ones = hand.step(f"{a}*{digit}", a * digit, 81)
        tens = hand.step(f"{b}*{digit}+{ones // 10}", b * digit + ones // 10, 89)
        rows.append((ones, tens))
    (first, second), (third, fourth) = rows
    tens = hand.step(f"{second % 10}+{third % 10}", second % 10 + third % 10, 18)
    hundreds = hand.step(f"{second // 10}+{fourth % 10}+{tens // 10}", second // 10 + fourth % 10 + tens // 10, 18)
    thousands = hand.step(f"{fourth // 10}+{hundreds // 10}", fourth // 10 + hundreds // 10, 9)
    return _number(thousands, hundreds % 10, tens % 10, first % 10)


def _power(question: arithmetic.Question, hand: Hand) -> int:
    """By squaring; each step is named by the exponent that it reaches."""
    exponents, value = [question.b], question.a
    while exponents[-1] > 1:
        exponents.append(exponents[-1] // 2)
    for exponent in reversed(exponents[:-1]):
        even = exponent - exponent % 2
        value = hand.step(f"{even}:{value}*{value}", value * value % question.prime, question.prime - 1)
        if exponent % 2:
            value = hand.step(
                f"{exponent}:{value}*{question.a}", value * question.a % question.prime, question.prime - 1
            )
    return value
