#!/bin/bash
# Makes a virtual environment that holds moto's S3 server: setup_moto.sh [DIR]  (default: .venv-moto in the checkout)
#
# A second call is instant. It is an environment of its own because moto and s3fs pin different versions of botocore.
# PYTHON names the interpreter to build it with (default: python3).
set -euo pipefail

version=5.2.1
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-moto}
ready=$dir/.ready-moto-$version # written last: an interrupted set-up is done again

[ -f "$ready" ] && exit 0

"${PYTHON:-python3}" -m venv --clear "$dir"
"$dir/bin/pip" install --quiet "moto[server]==$version"

touch "$ready"
