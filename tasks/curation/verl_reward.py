"""The reward of an episode in verl: what the campaign's grader says of the message (Section 3.1).

Name this file in verl's settings: `reward.custom_reward_function.path=…/tasks/curation/verl_reward.py` (`name` is
`compute_score`, verl's default). verl loads it by its path; this project must be installed beside it.
"""

from functools import cache
from typing import Any

from tasks.compaction import conclusion
from tasks.graders.code import share_passed
from tasks.graders.grading_pool import GradingPool


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None
) -> float:
    """The sparse terminal reward in [0, 1]: 1 for a correct message; for code the share of tests passed.

    What can not be graded earns nothing. Safe to call from several threads.

    Args:
        data_source: the problem's source, not used.
        solution_str: the whole trajectory; the message is what follows its last `</think>`.
        ground_truth: as in the campaign.
        extra_info: `grader` names the grader.

    Raises:
        ValueError: no grader is named, or there is none of that name.
    """
    grader = (extra_info or {}).get("grader")
    if not grader:
        raise ValueError("extra_info names no grader; export the Parquet with `pacore curate`")
    (verdict,) = _pool(grader).grade([(ground_truth, conclusion(solution_str))])
    return share_passed(verdict) if grader == "code" else float(verdict.outcome == "correct")


@cache
def _pool(grader: str) -> GradingPool:
    return GradingPool(grader)
