#!/bin/bash
# Makes a virtual environment that holds lm-evaluation-harness: setup_harness.sh [DIR]  (default: .venv-harness in the checkout)
#
# A second call is instant. It is an environment of its own: the harness brings seventy packages that nothing else needs.
# PYTHON names the interpreter to build it with (default: python3).
set -euo pipefail

version=0.4.13
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-harness}
ready=$dir/.ready-lm-eval-$version # written last: an interrupted set-up is done again

[ -f "$ready" ] && exit 0

"${PYTHON:-python3}" -m venv --clear "$dir"
"$dir/bin/pip" install --quiet "lm_eval[api]==$version"

touch "$ready"
