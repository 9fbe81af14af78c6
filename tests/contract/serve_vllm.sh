#!/bin/bash
# Serves a model with vLLM on the CPU, on loopback, in the foreground: serve_vllm.sh MODEL_DIR PORT [NAME [FLAG...]]
#
# The environment is the one that setup_vllm.sh makes (PACORE_VLLM_VENV; default: .venv-vllm in the checkout). Further
# flags go to `vllm serve`; a model with a window of more than 16,384 tokens needs one, `--max-model-len 16384`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
model=${1:?model folder} port=${2:?port} name=${3:-tiny-qwen3}
venv=${PACORE_VLLM_VENV:-$here/../../.venv-vllm}

export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind
export PATH=$venv/bin:$PATH # vLLM calls ninja

# A seeded request whose prefill is split in chunks kills the CPU engine: no chunks, and room for a whole window.
exec "$venv/bin/vllm" serve "$model" --served-model-name "$name" --host 127.0.0.1 --port "$port" \
  --enforce-eager --block-size 32 --no-enable-chunked-prefill --max-num-batched-tokens 16384 --max-num-seqs 64 \
  --reasoning-parser qwen3 "${@:4}"
