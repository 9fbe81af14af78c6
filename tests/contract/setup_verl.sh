#!/bin/bash
# Makes a virtual environment that holds verl: setup_verl.sh [DIR] [VLLM_DIR]  (default: .venv-verl and .venv-vllm in the checkout)
#
# A second call is instant. verl is here to be spoken to, not to train: torch and transformers are those of vLLM's
# environment (setup_vllm.sh), and of what verl needs only that is installed without which it does not import.
set -euo pipefail

version=0.9.1
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-verl}
vllm=$(cd "${2:-$here/../../.venv-vllm}" && pwd)
ready=$dir/.ready-verl-$version # written last: an interrupted set-up is done again

[ -f "$ready" ] && exit 0

"$vllm/bin/python" -m venv --clear "$dir"
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$vllm/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/vllm.pth"
"$dir/bin/pip" install --quiet --no-deps "verl==$version" \
    accelerate codetiming datasets dill hydra-core importlib_metadata math-verify msgpack multiprocess omegaconf \
    antlr4-python3-runtime==4.9.3 latex2sympy2_extended orjson pandas peft pyarrow python-dateutil pytz pyvers ray six \
    tensordict torchdata xxhash zipp

touch "$ready"
