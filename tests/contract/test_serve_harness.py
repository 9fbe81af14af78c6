"""lm-evaluation-harness pointed at `pacore serve`, beside `pacore run` on the same problems: one and the same accuracy.

The shipped model, held-out countdown problems, method low. Seed 0 is run 0 of a campaign with the same pool, so the
two agree to the letter, not within noise only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import yaml

from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import BenchmarkSource

from .conftest import CHECKOUT, absent, free_port, server, show_on_failure, tail

HARNESS_VENV = Path(os.environ.get("PACORE_HARNESS_VENV", CHECKOUT / ".venv-harness"))
PROBLEMS = int(os.environ.get("PACORE_HARNESS_PROBLEMS", "60"))
MODEL: dict[str, Any] = {
    "sampler": {"model": "pacore-tiny", "max_tokens": 512},
    "engine": {"kind": "local"},
    "pool": 8,
    "store": "store",
}
TASK: dict[str, Any] = {
    "task": "served_countdown",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{problem}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 512},
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def test_the_harness_measures_what_a_campaign_measures(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not (HARNESS_VENV / "bin/lm_eval").exists():
        absent("lm-evaluation-harness", "tests/contract/setup_harness.sh")
    run, served = tmp_path / "run", tmp_path / "served"
    accuracy = campaign(run)
    measured = harness(served, request)
    low, high = interval(accuracy)
    print(f"{PROBLEMS} problems: pacore run {accuracy['accuracy']:.4f} ({low:.4f}–{high:.4f}), harness {measured:.4f}")
    assert measured == pytest.approx(accuracy["accuracy"])
    assert 0.1 < measured < 0.9
    assert messages(run) == messages(served)


def campaign(folder: Path) -> dict[str, Any]:
    """The line of `low` in the report of `pacore run`."""
    folder.mkdir()
    keys = {"name": "served", "benchmark": {"path": "countdown", "limit": PROBLEMS}, "grader": "countdown"}
    (folder / "campaign.yaml").write_text(yaml.safe_dump({**MODEL, **keys, "methods": ["low"]}))
    command = [sys.executable, "-m", "flows.cli", "run", folder / "campaign.yaml", "--json"]
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, cwd=CHECKOUT, check=True)
    (line,) = (line for line in json.loads(done.stdout) if line["method"] == "low")
    return dict(line)


def interval(line: dict[str, Any]) -> tuple[float, float]:
    """The 95 % bootstrap interval of a report's line."""
    low, high = line["ci95"]
    return float(low), float(high)


def harness(folder: Path, request: pytest.FixtureRequest) -> float:
    """The accuracy that the harness finds at the served endpoint."""
    write_task(folder)
    log, port = folder / "log", free_port()
    show_on_failure(request.config, "pacore serve", log)
    (folder / "serve.yaml").write_text(yaml.safe_dump({**MODEL, "method": "low"}))
    serve = [sys.executable, "-m", "flows.cli", "serve", folder / "serve.yaml", "--port", port]
    url = f"http://127.0.0.1:{port}"
    arguments = (
        f"model=pacore-tiny-low,base_url={url}/v1/chat/completions,num_concurrent=8,seed=0,tokenizer_backend=none"
    )
    command = [
        *(HARNESS_VENV / "bin/lm_eval", "run", "--model", "local-chat-completions", "--model_args", arguments),
        *(
            "--tasks",
            "served_countdown",
            "--include_path",
            folder,
            "--apply_chat_template",
            "--output_path",
            folder / "out",
        ),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "OPENAI_API_KEY": "-"}
    with server(serve, f"{url}/health", log, seconds=60), log.open("ab") as out:
        words = [str(word) for word in command]
        done = subprocess.run(words, stdout=out, stderr=out, env={**os.environ, **offline}, cwd=folder, check=False)
    assert not done.returncode, tail(log)
    (results,) = (folder / "out").rglob("results_*.json")
    return float(json.loads(results.read_text())["results"]["served_countdown"]["acc,none"])


def write_task(folder: Path) -> None:
    folder.mkdir()
    problems = load_benchmark(BenchmarkSource(path="countdown", limit=PROBLEMS))
    rows = [{"problem": problem.chat[0]["content"], "answer": problem.ground_truth} for problem in problems]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "grade.py").write_text((Path(__file__).parent / "harness_countdown.py").read_text())
    task = {**TASK, "dataset_kwargs": {"data_files": {"test": str(folder / "problems.jsonl")}}}
    (folder / "task.yaml").write_text(yaml.safe_dump(task) + "process_results: !function grade.process_results\n")


def messages(folder: Path) -> dict[str, str]:
    """The answers of low's last round, by trajectory."""
    rows = ds.dataset(folder / "store/trajectories", partitioning="hive").to_table(["id", "round", "message"])
    return {row["id"]: row["message"] for row in rows.to_pylist() if row["round"] == 2}
