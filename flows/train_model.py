"""Trains the model that ships with this project, on one CPU core or more, from nothing.

    python -m flows.train_model --out runs/main --steps 4200

Seeded, and resumable: run the same command again and it goes on from the last saved step. The run
is one piece: bare problems first; from 16 % of the steps on, half of all tokens are countdown's synthesis
prompts, with more and more references; from half of the way on the learning rate falls to zero. `model/`
in the output is its end. `base/` is the end of a branch that meets no reference: it leaves the run where
synthesis starts, and its rate falls to zero in a tenth as many steps as the run has. Its pass@1 is what
the model's is compared with.
"""

from __future__ import annotations

import argparse
import random
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from tasks.training import export
from tasks.training.batches import BARE_END, Batch, Maker, Packer, batches, stage_at
from tasks.training.model import Qwen3, Shape
from tasks.training.optimizer import optimizers
from tasks.training.samples import arithmetic_bare, arithmetic_synthesis, countdown_bare, countdown_synthesis
from tasks.training.teacher import DECISION
from tasks.training.tokenizer import build

WARMUP, DECAY_FROM, BRANCH = 50, 0.50, 0.10


def main() -> None:
    """Train, or go on training, and export."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = own_tokenizer(args.out / "tokenizer.json")
    run = Run(args, tokenizer)
    run.resume()
    while run.step < args.steps:
        if run.starts_synthesis and not (args.out / "base").exists():
            run.branch()
        run.update()
        if run.step % args.report_every == 0:
            print(run.report(), flush=True)
        if run.step % args.save_every == 0:
            run.save()
    run.save()
    export.write(run.model, tokenizer, args.out / "model")


def own_tokenizer(path: Path) -> Tokenizer:
    """The run's tokenizer: trained when the run starts, read again when it goes on."""
    if not path.exists():
        build().save(str(path))
    return Tokenizer.from_file(str(path))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--other-lr", type=float, default=0.003)
    parser.add_argument("--report-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=200)
    return parser.parse_args()


class Run:
    """A training run: the model, its optimizers and how far it is."""

    def __init__(self, args: argparse.Namespace, tokenizer: Tokenizer) -> None:
        self.args, self.tokenizer = args, tokenizer
        self.packer = Packer(tokenizer)
        self.model = Qwen3(Shape())
        self.optimizers = optimizers(self.model, args.matrix_lr, args.other_lr)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.losses: list[list[float]] = []
        torch._dynamo.config.cache_size_limit = 64
        for layer in self.model.layers:
            layer.compile(dynamic=False)

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        return float(self.step / self.args.steps)

    @property
    def starts_synthesis(self) -> bool:
        """Whether the next step is the first with references."""
        before = (self.step - 1) / self.args.steps
        return stage_at(self.progress).references > 0 and stage_at(before).references == 0

    def update(self) -> None:
        """One step of the run."""
        chooser, stage = random.Random(f"{self.args.seed}/{self.step}"), stage_at(self.progress)
        self._update(batches(self.packer, chooser, self.step, stage), rate(self.step, self.args.steps))
        self.step += 1

    def branch(self) -> None:
        """Let a copy's rate fall on bare problems, export it, and go back to where it left the run."""
        self.save()
        steps = round(BRANCH * self.args.steps)
        for step in range(steps):
            chooser = random.Random(f"{self.args.seed}/branch/{step}")
            self._update(batches(self.packer, chooser, step, BARE_END), 1 - step / steps)
        print(f"branch of {steps} steps ends | validation: {self.validation()}", flush=True)
        export.write(self.model, self.tokenizer, self.args.out / "base.new")
        (self.args.out / "base.new").replace(self.args.out / "base")
        self.resume()

    def _update(self, batches_: list[Batch], factor: float) -> None:
        """One optimizer step at a share of the peak rate."""
        started = time.monotonic()
        losses = [weighted_loss(self.model, batch) for batch in batches_]
        for loss in losses:
            (loss / len(losses)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad()
        self.losses.append([loss.item() for loss in losses])
        self.tokens += sum(batch.tokens.numel() for batch in batches_)
        self.seconds += time.monotonic() - started

    def report(self) -> str:
        """One line of the log."""
        recent = torch.tensor(self.losses[-self.args.report_every :]).mean(0).tolist()
        line = (
            f"step {self.step} refs {stage_at(self.progress).references} "
            f"loss {' '.join(f'{loss:.3f}' for loss in recent)} "
            f"tokens {self.tokens / 1e6:.1f}M seconds {self.seconds:.0f}"
        )
        if self.step % (5 * self.args.report_every) == 0:
            line += " | validation: " + self.validation()
        return line

    @torch.no_grad()
    def validation(self) -> str:
        """Share of decisions (tokens of weight DECISION or, where none, all) foreseen, by kind."""
        kinds: dict[str, tuple[Maker, int]] = {
            "bare": (partial(countdown_bare, split="validation"), 128),
            "arithmetic": (partial(arithmetic_bare, split="validation"), 144),
        }
        if stage_at(self.progress).references:
            for count, width in ((4, 288), (16, 640), (32, 1024)):
                kinds[f"refs-{count}"] = partial(countdown_synthesis, count=count, split="validation"), width
            for count, width in ((4, 304), (18, 736)):
                kinds[f"sums-{count}"] = partial(arithmetic_synthesis, count=count, split="validation"), width
        return " ".join(f"{name} {self._foreseen(maker, width):.3f}" for name, (maker, width) in kinds.items())

    def _foreseen(self, maker: Maker, width: int) -> float:
        batch_ = self.packer.batch(maker, random.Random("validation"), width)
        scores, targets, weights = predictions(self.model, batch_)
        decisive = weights >= min(DECISION, float(weights.max()))
        return float((scores.argmax(-1) == targets)[decisive].float().mean())

    def save(self) -> None:
        """Write all that the run needs to go on; a kill in between leaves the last state whole."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "run": (self.step, self.tokens, self.seconds),
        }
        torch.save(state, self.args.out / "state.new")
        (self.args.out / "state.new").replace(self.args.out / "state.pt")
        export.write(self.model, self.tokenizer, self.args.out / "model")

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        path = self.args.out / "state.pt"
        if not path.exists():
            return
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.seconds = state["run"]
        self.losses = []
        print(f"resumed at step {self.step}", flush=True)


def rate(step: int, steps: int) -> float:
    """The learning rate's factor: a short warm-up, level, then a long straight fall to zero."""
    return min((step + 1) / WARMUP, 1.0, (1 - step / steps) / (1 - DECAY_FROM))


def predictions(model: Qwen3, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [N, vocabulary], true tokens [N] and weights [N] of all positions that count."""
    hidden = model(batch.tokens)[:, :-1]
    weights = batch.weights[:, 1:]
    counted = weights > 0
    return model.logits(hidden[counted]), batch.tokens[:, 1:][counted], weights[counted]


def weighted_loss(model: Qwen3, batch: Batch) -> Tensor:
    """Weighted mean cross-entropy of a batch."""
    scores, targets, weights = predictions(model, batch)
    losses = F.cross_entropy(scores, targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


if __name__ == "__main__":
    main()
