#!/usr/bin/env bash
#SBATCH --job-name=sweep
#SBATCH --cpus-per-task=2
#SBATCH --output=sweep-%A-%a.log
#
# Runs one experiment of a sweep in a clone of its own, and pushes it to origin.
#
#   bash docs/sweep.sh NAME COMMIT LIST LINE
#
# LIST is a file; a line of it has the params of one experiment, like `train.lr=0.01 seed=1`. The
# experiment of line 7 is called NAME-7 and starts from COMMIT, which origin must have. In a Slurm
# array LINE is the number of the task:
#
#   uv run sbatch --array="1-$(wc -l < LIST)%8" docs/sweep.sh NAME "$(git rev-parse HEAD)" LIST
#
# Where origin has the experiment already, nothing is done: after a failure, submit all again.
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 1
}

line=${4:-${SLURM_ARRAY_TASK_ID:-}}
[[ $# -ge 3 && -n $line ]] || fail "usage: docs/sweep.sh NAME COMMIT LIST LINE"
[[ ${MLFLOW_TRACKING_URI:-} == *://* ]] ||
  fail "set MLFLOW_TRACKING_URI to the address of the server, like http://mlflow.example.org:5000"
experiment=$1-$line
commit=$(git rev-parse --verify "$2^{commit}")
origin=$(git remote get-url origin)
read -ra params <<< "$(sed -n "${line}p" "$3")"
[[ ${#params[@]} -gt 0 ]] || fail "$3 has no params in line $line"

reference=refs/exps/${commit:0:2}/${commit:2}/$experiment
if [[ -n $(git ls-remote origin "$reference") ]]; then
  echo "$experiment is in origin already"
  exit 0
fi

clone=$(mktemp -d "${TMPDIR:-/tmp}/$experiment-XXXXXX")
trap 'rm -rf "$clone"' EXIT
git clone --quiet --no-checkout "$origin" "$clone"
cd "$clone"
git checkout --quiet --detach "$commit" || fail "origin has no commit $commit: push it first"
dvc config core.remote > /dev/null || fail "commit a default remote: dvc remote add --default"
dvc status --cloud > /dev/null || fail "the DVC remote is away, or needs credentials"

export MLFLOW_HTTP_REQUEST_MAX_RETRIES=${MLFLOW_HTTP_REQUEST_MAX_RETRIES:-1}
mlflow experiments search > /dev/null 2>&1 ||
  fail "the MLflow server is away, or needs MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"

trap 'echo "its clone is left in $clone" >&2' EXIT
# each param with a -S before it; outputs that the remote has are pulled, not computed
dvc exp run --pull --name "$experiment" "${params[@]/#/-S}"
dvc exp push origin "$experiment"
trap 'rm -rf "$clone"' EXIT
