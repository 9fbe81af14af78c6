"""The training script, with the real torch: a run that is killed goes on to the same weights."""

import os
import subprocess
from pathlib import Path

from infra.local.engine import LocalEngine, LocalSettings
from infra.sampler import Sampler
from tests.contract.conftest import CHECKOUT, VLLM_VENV, absent

STEPS = 12
SAMPLER = Sampler(model="any", temperature=0.0, max_tokens=8)


def train(out: Path, until: str) -> list[str]:
    """Train, and kill the run once its log says `until`; return the log."""
    command = [VLLM_VENV / "bin/python", "-u", "-m", "flows.train_model", "--out", out, "--steps", str(STEPS)]
    environment = {**os.environ, "TORCH_COMPILE_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    words = [str(word) for word in [*command, "--save-every", "4", "--report-every", "6"]]
    lines = []
    with subprocess.Popen(words, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if line.startswith(until):
                process.kill()
    return lines


async def test_a_killed_run_goes_on_to_the_same_weights_and_the_engine_loads_them(tmp_path: Path) -> None:
    if not (VLLM_VENV / "bin/python").exists():
        absent("torch", "tests/contract/setup_vllm.sh")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    through = train(whole, until="no such line")
    assert train(killed, until="step 6 ")[-1].startswith("step 6 ")
    resumed = train(killed, until="no such line")
    assert resumed[0].startswith("resumed at step ")
    assert resumed[-1].split(" loss ")[0] == through[-1].split(" loss ")[0] == f"step {STEPS} refs 32"
    for folder in ("base", "model"):
        weights = [(out / folder / "model.safetensors").read_bytes() for out in (whole, killed)]
        assert weights[0] == weights[1]
        engine = LocalEngine(LocalSettings(model=whole / folder))
        try:
            assert (await engine.complete([{"role": "user", "content": "Hi"}], SAMPLER, 0)).completion_tokens
        finally:
            await engine.close()
