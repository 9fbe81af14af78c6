"""The rules, on real sentences of contest problems."""

import json

import pytest

from tasks.curation.candidate import Candidate
from tasks.curation.rules import broken_rule


def problem(question: str, truth: str = "5") -> Candidate:
    return Candidate("a", "s", [{"role": "user", "content": question}], truth, [])


@pytest.mark.parametrize(
    ("question", "truth", "rule"),
    [
        ("What is the area in ![](img.png) of the shape?", "5", "images or links"),
        ("Use the table at https://example.org/t to find n.", "5", "images or links"),
        ("In the figure below, find the angle x.", "5", "images or links"),
        ("Find x as shown in the diagram of the circle.", "5", "images or links"),
        ("Find the area. [asy]\ndraw((0,0)--(1,1));\n[/asy]", "5", "images or links"),
        ("Let n = 3. (a) Find n + 1. (b) Find n + 2.", "5", "several parts"),
        ("Part A: find the sum of all n.\nPart B: find the product of all n.", "5", "several parts"),
        ("How many cats are there? How many dogs are there?", "5", "several parts"),
        ("Find both roots of the equation x^2 = 4.", "2 and -2", "several answers"),
        ("Find both roots of the equation x^2 = 4.", r"2 \text{ or } -2", "several answers"),
        ("Find both roots of the equation x^2 = 4.", "2; -2", "several answers"),
        ("Prove that the square root of 2 is irrational.", "5", "vague prose"),
        ("Explain why the sky over Paris is blue.", "5", "vague prose"),
        ("Find x.", "5", "vague prose"),
        ("Find the number of primes below 12.", "", "vague prose"),
    ],
)
def test_a_problem_that_breaks_a_rule_is_dropped_by_its_name(question: str, truth: str, rule: str) -> None:
    assert broken_rule(problem(question, truth)) == rule


@pytest.mark.parametrize(
    ("question", "truth"),
    [
        ("Find the number of primes below 12.", "5"),
        (r"Simplify $\sqrt{242}$.", "5"),
        ("To have the car, Wilson needs to show that he got 80 or more. What must he get next?", "5"),
        ("Let f(a) + f(b) = 1 for a polynomial f. Find f(2).", "5"),
        ("Which is prime? (A) 4 (B) 6 (C) 8 (D) 5", "D"),
        ("Two cards are drawn; what is the probability that both are red?", r"\frac{25}{102}"),
        ("Find the set of all solutions of x^2 = 4.", r"\{-2, 2\}"),
        ("Read two numbers and print their sum.", json.dumps({"tests": [{"input": "1 2\n", "output": "3;\n"}]})),
    ],
)
def test_a_problem_with_one_answer_is_kept(question: str, truth: str) -> None:
    assert broken_rule(problem(question, truth)) is None
