"""The funnel at size: `python -m tests.benchmarks.curation [PROBLEMS]` prints counts, speed and memory.

Problems are made up: plain ones, ones that break each rule, ones from a benchmark with other digits, and ones that
quote a long passage of it. The counts are held against `reference`, which is slow and obvious, and shares no code with
the steps.
"""

import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.curation.candidate import Candidate, read_candidates, write_candidates
from tasks.curation.decontamination import Contamination
from tasks.curation.rules import broken_rule
from tasks.curation.sift import Step, sift, sift_file

WORDS = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in "lmnrst"]
SPOILERS = {
    "images or links": lambda text: f"{text} See https://example.org/{len(text)} for it.",
    "several parts": lambda text: f"(a) {text} (b) {text}",
    "vague prose": lambda text: f"Prove that {text}",
}
SOURCES = ("open source", "competitions", "arithmetic")


def benchmark(chooser: random.Random, size: int = 500) -> list[str]:
    """Questions of 10 to 200 words with numbers in them."""
    return [_question(chooser, chooser.randint(10, 200)) for _ in range(size)]


def made_up(chooser: random.Random, size: int, known: list[str]) -> Iterator[Candidate]:
    """Problems, some of which have to go."""
    longer = [text for text in known if len(text.split()) > 100]
    for number in range(size):
        text, truth, luck = _question(chooser, chooser.choice([8, 30, 60, 120, 300])), "7", chooser.random()
        if luck < 0.03:
            text = SPOILERS[chooser.choice(list(SPOILERS))](text)
        elif luck < 0.04:
            truth = "7; 8"
        elif luck < 0.06:
            text = re.sub(r"\d", lambda _: str(chooser.randrange(10)), chooser.choice(known)).upper()
        elif luck < 0.09:
            passage, length = chooser.choice(longer).split(), chooser.choice([50, 63, 64, 65, 90])
            text = " ".join(["indeed", *passage[2 : 2 + length], "indeed"])
        chat = [{"role": "user", "content": text}]
        yield Candidate(str(number), chooser.choice(SOURCES), chat, truth, [])


def _question(chooser: random.Random, words: int) -> str:
    text = [chooser.choice(WORDS) if chooser.random() < 0.9 else str(chooser.randrange(1000)) for _ in range(words)]
    return " ".join(text) + " ?"


def reference(problems: list[Candidate], known: list[str]) -> list[Step]:
    """What the funnel has to count."""
    collected, ruled, clean = Step("collected"), Step("rules"), Step("decontamination")
    masked = {_masked(text) for text in known}
    passages = {passage for text in known for passage in _passages(text)}
    for problem in problems:
        text = problem.chat[0]["content"]
        collected.left[problem.source] += 1
        if rule := _rule(text, problem.ground_truth):
            ruled.dropped[rule] += 1
            continue
        ruled.left[problem.source] += 1
        if _masked(text) in masked:
            clean.dropped["exact match"] += 1
        elif any(passage in passages for passage in _passages(text)):
            clean.dropped["64-gram overlap"] += 1
        else:
            clean.left[problem.source] += 1
    return [collected, ruled, clean]


def _rule(text: str, truth: str) -> str | None:
    if "https://" in text:
        return "images or links"
    if text.count("?") > 1:
        return "several parts"
    if ";" in truth:
        return "several answers"
    return "vague prose" if text.startswith("Prove that") else None


def _masked(text: str) -> str:
    return "".join("0" if character.isdigit() else character for character in text.lower())


def _passages(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[start : start + 64]) for start in range(len(words) - 63)]


def funnel(problems: Iterator[Candidate], known: list[str], folder: Path) -> list[Step]:
    """The steps as the flow takes them."""
    names = ["collected", "rules", "decontamination"]
    files = [str(folder / f"{name}.parquet") for name in names]
    contamination = Contamination(known)
    return [
        sift(names[0], problems, lambda _: None, files[0]),
        sift_file(names[1], files[0], broken_rule, files[1]),
        sift_file(names[2], files[1], contamination.of, files[2]),
    ]


def main(size: int) -> None:
    """Print counts and speed; exit with 1 where the counts are not those of the reference."""
    known = benchmark(random.Random("benchmark"))
    with tempfile.TemporaryDirectory() as folder:
        start = str(Path(folder) / "made-up.parquet")
        write_candidates(start, made_up(random.Random(0), size, known))
        clock, cpu = time.monotonic(), time.process_time()
        found = funnel(read_candidates(start), known, Path(folder))
        seconds, cpu = time.monotonic() - clock, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for step in found:
            print(f"{step.name}: {step.left.total():,} left, dropped {dict(step.dropped)}")
        print(
            f"{size:,} problems in {seconds:.1f} s ({cpu:.1f} CPU-s), {size / seconds:,.0f} a second; {memory:.0f} MB"
        )
        clock = time.monotonic()
        expected = reference(list(made_up(random.Random(0), size, known)), known)
        print(f"reference: {'the same' if found == expected else expected} ({time.monotonic() - clock:.1f} s)")
    sys.exit(found != expected)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
