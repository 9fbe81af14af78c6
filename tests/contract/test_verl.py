"""verl takes what is exported for it: its dataset class the Parquet, its loaders the reward file and the settings."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.campaign.plan import Plan
from tasks.curation.curation_file import Verl
from tasks.curation.training_rows import Curated, write_verl
from tasks.graders import load_grader

from .conftest import CHECKOUT, absent

VERL_VENV = Path(os.environ.get("PACORE_VERL_VENV", CHECKOUT / ".venv-verl"))

DATASET = """
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
settings = {"cache_dir": folder, "max_prompt_length": 4096, "filter_overlong_prompts_workers": 1}
tokenizer = AutoTokenizer.from_pretrained(given["tokenizer"])
rows = RLHFDataset(given["parquet"], tokenizer, OmegaConf.create(settings))
batch = collate_fn([rows[index] for index in range(len(rows))])
names = ["raw_prompt", "data_source", "reward_model", "extra_info", "index"]
answer = {name: batch[name].tolist() for name in names}
"""
REWARD = """
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
named = {"path": given["path"], "name": "compute_score", "reward_kwargs": {}}
score = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": named}}))
answer = [score(**arguments) for arguments in given["asked"]]
"""
SETTINGS = """
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
with initialize_config_dir(given["folder"], version_base=None):
    found = OmegaConf.to_container(compose("ppo", given["overrides"]))
answer = {name: found[name] for name in ("algorithm", "data", "actor_rollout_ref", "critic", "reward", "trainer")}
"""


@pytest.fixture
def verl(tmp_path: Path) -> Callable[..., Any]:
    """Run lines in verl's environment; `given` is what they get, `answer` what they give."""
    if not (VERL_VENV / "bin/python").exists():
        absent("verl", "tests/contract/setup_verl.sh")

    def run(lines: str, **given: Any) -> Any:
        before = f"import json, sys\ngiven, folder = json.loads(sys.argv[1]), {str(tmp_path / 'cache')!r}\n"
        after = f"\njson.dump(answer, open({str(tmp_path / 'answer.json')!r}, 'w'))"
        ended = subprocess.run(
            [VERL_VENV / "bin/python", "-c", before + lines + after, json.dumps(given)],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return json.loads((tmp_path / "answer.json").read_text())

    return run


def test_its_dataset_class_reads_the_parquet(
    verl: Callable[..., Any], plan: Callable[..., Plan], tmp_path: Path
) -> None:
    here, path = plan(), tmp_path / "train.parquet"
    messages = {f"id-{n}": f"Answer: {n}" for n in range(24)}
    write_verl(str(path), [Curated("open", problem, messages) for problem in here.problems], here, Verl(), 0)
    batch = verl(DATASET, parquet=str(path), tokenizer=str(CHECKOUT / "infra/model"))
    assert sorted(batch["index"]) == [0, 1]
    assert batch["data_source"] == ["open", "open"]
    for number, index in enumerate(batch["index"]):
        problem = here.problems[index]
        extra = batch["extra_info"][number]
        shown = [messages[id] for id in extra["references"]]
        assert 16 <= len(shown) <= 24
        assert batch["raw_prompt"][number] == here.template.write(problem.chat, shown)
        assert batch["reward_model"][number]["ground_truth"] == problem.ground_truth
        assert (extra["id"], extra["grader"]) == (problem.id, "exact")


def test_the_reward_file_scores_100_answers_there_as_the_graders_do_here(verl: Callable[..., Any]) -> None:
    truth = r"\frac{1}{2}"
    answers = [rf"<think>\boxed{{1/2}}</think>It is $\boxed{{{n}/{m}}}$" for n in range(1, 11) for m in range(1, 11)]
    common = {"data_source": "open", "ground_truth": truth, "extra_info": {"grader": "math"}}
    path = str(CHECKOUT / "tasks/curation/verl_reward.py")
    scores = verl(REWARD, path=path, asked=[{**common, "solution_str": answer} for answer in answers])
    grade = load_grader("math")
    assert scores == [float(grade(truth, answer.partition("</think>")[2]).outcome == "correct") for answer in answers]
    assert sum(scores) == 5


def test_the_settings_are_those_of_the_paper(verl: Callable[..., Any]) -> None:
    overrides = ["data.train_files=[train-000.parquet]", "actor_rollout_ref.model.path=start"]
    found = verl(SETTINGS, folder=str(CHECKOUT / "flows/verl"), overrides=overrides)
    assert found["data"]["train_files"] == ["train-000.parquet"]
    algorithm, rollout = found["algorithm"], found["actor_rollout_ref"]["rollout"]
    assert (algorithm["adv_estimator"], algorithm["gamma"], algorithm["lam"]) == ("gae", 1.0, 1.0)
    assert (rollout["n"], rollout["temperature"], rollout["top_p"]) == (64, 1.0, 1.0)
    assert found["data"]["train_batch_size"] == found["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] == 16
    assert found["data"]["shuffle"] is False
    assert found["data"]["max_prompt_length"] + found["data"]["max_response_length"] == 131_072
    assert found["reward"]["custom_reward_function"]["name"] == "compute_score"
