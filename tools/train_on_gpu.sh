#!/bin/sh
# Trains a recipe on one GPU for some minutes, from a checkout and a bundle alone; the same command again goes on.
#
#   tools/train_on_gpu.sh RECIPE MINUTES OUT [KEY=VALUE]...
#   BUNDLE=bundle tools/train_on_gpu.sh deblur-gpu 10 out
#
# BUNDLE (default: bundle/ of the checkout) holds photos/ (JPEG, WebP, PNG), for deblur-refine-gpu pairs/ in their place
# (tools/bundle_pairs.py), and, for what Python lacks beside torch, wheels/:
#   pip download --only-binary=:all: --python-version 3.12 -d bundle/wheels pydantic
# PYTHON (default: python3) runs it; RUNS=3 stretches the schedule over three such calls.
set -eu
if [ $# -lt 3 ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
started=$(date +%s)
here=$(cd "$(dirname "$0")/.." && pwd)
bundle=${BUNDLE:-$here/bundle}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if ls "$bundle"/wheels/*.whl >/dev/null 2>&1; then
  "${PYTHON:-python3}" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$bundle"/wheels/*.whl
fi
PYTHONPATH="$here/src:$site${PYTHONPATH:+:$PYTHONPATH}" \
  "${PYTHON:-python3}" "$here/tools/train_on_gpu.py" "$@" --bundle "$bundle" --runs "${RUNS:-1}" --started "$started"
