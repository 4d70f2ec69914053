#!/usr/bin/env bash
# Checks and times the kernels, the captured step and a fit on one GPU, in at most 6 minutes; nothing is downloaded.
#
#   bench/gpu.sh [--out FILE.json]         on a GPU; the result, and a table of it on stdout
#   bench/gpu.sh --only pairs,step         some of: product, pairs, likelihood, step, fit, tests
#   bench/gpu.sh --dry [--out FILE.json]   on the CPU, tiny shapes: tells only whether the program itself works
#
# Python is $PYTHON, else python3. Wheels of what it lacks (pyro-ppl, pyro-api, opt-einsum, platformdirs, lazy-loader) may
# lie in $MMPPL_WHEELS, else .whl, which git ignores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
wheels=${MMPPL_WHEELS:-$root/.whl}
path=$root
if compgen -G "$wheels/*.whl" >/dev/null; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
    path=$root:$site
fi
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "$python" "$root/bench/gpu.py" "$@"
