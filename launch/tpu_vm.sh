#!/usr/bin/env bash
# A command on every worker of a Cloud TPU slice that exists, from a checkout of this repository on each of them.
#
#   launch/tpu_vm.sh my-slice us-central2-b --config configs/four_stems.py --workdir /mnt/shared/runs/four_stems
#
# The store and the workdir must be where every worker sees them: on a shared file system.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: launch/tpu_vm.sh TPU_NAME ZONE FLAGS_OF_STEMSEP.TRAIN..." >&2
    exit 2
fi
name=$1 zone=$2
shift 2
exec gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker=all \
    --command "cd stemsep && pip install -q -e . 'jax[tpu]>=0.10.2,<0.12' && STEMSEP_CLUSTER=auto python -m stemsep.train $(printf '%q ' "$@")"
