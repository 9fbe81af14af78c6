"""Samples in even batches, and the curriculum that says which."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tasks.training.prompts import chat_prompt
from tasks.training.samples import (
    Sample,
    arithmetic_bare,
    arithmetic_synthesis,
    countdown_bare,
    countdown_synthesis,
)
from tasks.training.tokenizer import END

TOKENS = 4096  # in a batch, padding included
Rooms = Sequence[tuple[int, int]]
"""The most references of a batch's samples, and the tokens that they have room in."""
COUNTDOWN_ROOMS: Rooms = ((4, 288), (9, 448), (18, 640), (32, 1024))
ARITHMETIC_ROOMS: Rooms = ((4, 304), (9, 480), (18, 736), (32, 1088))

Maker = Callable[[random.Random], Sample]


@dataclass(frozen=True)
class Batch:
    """Rows of token ids [B, T] and the weight of each as a prediction, zero on prompts and padding."""

    tokens: Tensor
    weights: Tensor


class Packer:
    """Turns samples into rows of one width."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._end = tokenizer.get_vocab()[END]

    def row(self, sample: Sample) -> tuple[list[int], list[float]]:
        """Token ids and weights of one sample, the closing token included."""
        prompt, turn = sample
        encoded = self._tokenizer.encode_batch([chat_prompt(prompt), *(text for text, _ in turn)])
        ids, weights = list(encoded[0].ids), [0.0] * len(encoded[0].ids)
        for span, (_, weight) in zip(encoded[1:], turn, strict=True):
            ids += span.ids
            weights += [weight] * len(span.ids)
        return [*ids, self._end], [*weights, 1.0]

    def batch(self, maker: Maker, chooser: random.Random, width: int) -> Batch:
        """As many samples as TOKENS holds; a sample too long for the width is drawn anew."""
        rows: list[tuple[list[int], list[float]]] = []
        while len(rows) < TOKENS // width:
            row = self.row(maker(chooser))
            if len(row[0]) <= width:
                rows.append(row)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        weights = torch.zeros(len(rows), width)
        for place, (ids, weight) in enumerate(rows):
            tokens[place, : len(ids)] = torch.tensor(ids)
            weights[place, : len(ids)] = torch.tensor(weight)
        return Batch(tokens, weights)


@dataclass(frozen=True)
class Stage:
    """What the curriculum asks for up to a point of the run (a share of its steps)."""

    end: float
    references: int  # at most, in a sample; 0: no synthesis yet
    drill: float  # share of bare countdown samples that practise the verdicts alone
    choice: float  # weight of the tokens that choose a try
    sums: int  # of eight batches beside the countdown syntheses, how many are arithmetic, half of them syntheses


CURRICULUM = (
    Stage(0.16, 0, drill=0.5, choice=0.5, sums=4),
    Stage(0.27, 4, drill=0.5, choice=0.5, sums=4),
    Stage(0.40, 9, drill=0.5, choice=0.5, sums=4),
    Stage(0.50, 18, drill=0.5, choice=0.5, sums=4),
    Stage(1.00, 32, drill=0.15, choice=2.0, sums=2),
)
BARE_END = Stage(1.00, 0, drill=0.15, choice=2.0, sums=4)
"""The end of a run that meets no reference."""


def stage_at(progress: float) -> Stage:
    """The stage of the curriculum that a point of the run lies in."""
    return next((stage for stage in CURRICULUM if progress < stage.end), CURRICULUM[-1])


def batches(packer: Packer, chooser: random.Random, step: int, stage: Stage) -> list[Batch]:
    """The two batches of one optimizer step.

    Before synthesis one of each benchmark; then one of countdown's syntheses, beside which bare
    countdown, bare arithmetic and arithmetic's syntheses take turns.
    """
    countdown_maker = partial(countdown_bare, drill=stage.drill, choice=stage.choice)
    if not stage.references:
        return [packer.batch(countdown_maker, chooser, 128), packer.batch(arithmetic_bare, chooser, 144)]
    countdown_with = partial(countdown_synthesis, choice=stage.choice)
    syntheses = _synthesis(packer, chooser, stage, countdown_with, COUNTDOWN_ROOMS)
    turn = step % 8
    if turn >= stage.sums:
        return [packer.batch(countdown_maker, chooser, 128), syntheses]
    if turn % 2:
        return [packer.batch(arithmetic_bare, chooser, 144), syntheses]
    return [_synthesis(packer, chooser, stage, arithmetic_synthesis, ARITHMETIC_ROOMS), syntheses]


def _synthesis(
    packer: Packer, chooser: random.Random, stage: Stage, maker: Callable[[random.Random, int], Sample], rooms: Rooms
) -> Batch:
    """A batch of one room, so that padding is little."""
    place = chooser.randrange(sum(most <= stage.references for most, _ in rooms))
    (most, width), fewest = rooms[place], rooms[place - 1][0] + 1 if place else 1
    return packer.batch(lambda chooser: maker(chooser, chooser.randint(fewest, most)), chooser, width)
