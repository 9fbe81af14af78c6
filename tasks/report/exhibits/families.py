"""Methods that are told apart in a figure, by what they are and not by their names."""

from tasks.campaign.method import Method

COORDINATED, VOTE, SEQUENTIAL, WHOLE, SUBSETS, SUMMARIES, DISTILLED, BEST = (
    "coordinated rounds",
    "vote (sc@N)",
    "sequential",
    "whole trajectories, no compaction",
    "random subsets (RSA)",
    "summaries",
    "distilled (PDR)",
    "best of N, by the model",
)


def family(method: Method) -> str | None:
    """Which curve a method belongs to; None for pass@N, which is no way to answer."""
    if method.read_out == "any":
        return None
    if method.resamples_pool:
        return VOTE
    if method.read_out == "best":
        return BEST
    if "summary" in method.other_prompts:
        return SUMMARIES
    if "distill" in method.other_prompts:
        return DISTILLED
    if any(round.compaction == "full" for round in method.rounds):
        return WHOLE
    if any(round.sees != "all" for round in method.rounds):
        return SUBSETS
    return SEQUENTIAL if set(method.widths) == {1} else COORDINATED


def is_parallel(method: Method) -> bool:
    """K⃗ = [N]: all messages of one round into one prompt."""
    return len(method.rounds) == 2 and method.widths[1] == 1 and method.rounds[1].sees == "all"
