"""Decontamination, against a slow and obvious implementation of it."""

import random
import re

from tasks.curation.candidate import Candidate
from tasks.curation.decontamination import Contamination

WORDS = [f"w{n}" for n in range(300)]


def text(chooser: random.Random, length: int) -> str:
    return " ".join(chooser.choices(WORDS, k=length))


def of(benchmark: list[str], question: str) -> str | None:
    return Contamination(benchmark).of(Candidate("a", "s", [{"role": "user", "content": question}], "1", []))


def slow(benchmark: list[str], question: str) -> str | None:
    def tokens(text: str) -> list[str]:
        return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())

    def masked(text: str) -> list[str]:
        return [re.sub(r"\d", "0", token) for token in tokens(text)]

    def grams(text: str) -> list[list[str]]:
        return [tokens(text)[start : start + 64] for start in range(len(tokens(text)) - 63)]

    if any(masked(question) == masked(one) for one in benchmark):
        return "exact match"
    if any(gram in grams(one) for one in benchmark for gram in grams(question)):
        return "64-gram overlap"
    return None


def test_a_problem_of_a_benchmark_is_found_whatever_its_digits_case_and_white_space() -> None:
    assert of(["What is 12 + 34?"], "what is  77 + 10 ?\n") == "exact match"


def test_a_problem_with_more_digits_or_other_words_is_another_problem() -> None:
    assert of(["What is 12 + 34?"], "What is 123 + 34?") is None
    assert of(["What is 12 + 34?"], "What was 12 + 34?") is None


def test_a_passage_of_64_tokens_is_found_at_any_place_and_one_of_63_is_not() -> None:
    chooser = random.Random(0)
    shared, before, after = text(chooser, 64), text(chooser, 80), text(chooser, 100)
    benchmark = [f"{before} {shared}", text(chooser, 10)]
    assert of(benchmark, f"{after} {shared} {before[:5]}") == "64-gram overlap"
    assert of(benchmark, f"{after} other {shared.partition(' ')[2]} {after}") is None


def test_digits_are_not_masked_in_a_passage() -> None:
    shared = " ".join(f"word {n}" for n in range(10, 50))
    assert of([shared], f"{shared} and more") == "64-gram overlap"
    assert of([shared], f"{shared.replace('0', '1')} and more") is None


def test_without_benchmarks_nothing_is_found() -> None:
    assert of([], text(random.Random(0), 200)) is None


def test_a_text_in_a_script_without_spaces_has_a_token_a_character() -> None:
    shared = "".join(chr(0x4E00 + n) for n in range(64))
    assert of([f"求{shared}"], f"设{shared}") == "64-gram overlap"


def test_it_finds_what_the_slow_implementation_finds() -> None:
    chooser = random.Random(1)
    benchmark = [text(chooser, chooser.randint(1, 150)) for _ in range(30)]
    questions = []
    for _ in range(300):
        one = chooser.choice(benchmark).split()
        start, length = chooser.randrange(len(one)), chooser.choice([60, 63, 64, 65, 200])
        questions.append(" ".join([*WORDS[: chooser.choice([0, 3])], *one[start : start + length]]))
    found = [of(benchmark, question) for question in questions]
    assert found == [slow(benchmark, question) for question in questions]
    assert len(set(found)) == 3
