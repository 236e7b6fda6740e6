#!/usr/bin/env bash
# Several processes on one machine, each with its own share of the devices: what runs on many hosts, tried on one.
#
#   launch/local.sh 2 python -m stemsep.train --config configs/drums.py
#
# On a CPU, DEVICES=n gives each process n virtual devices (1 if not set). Of NVIDIA GPUs each process gets as many as
# the others; PROCESSES must divide their number. Where there are several, XLA gets the flags of gpu_flags.sh, with
# PROCESSES 1 too. Ends with the first status that is not 0; when one process fails, the others are stopped. SIGTERM goes
# to all of them: training saves what it has and ends with status 0.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: launch/local.sh PROCESSES COMMAND..." >&2
    exit 2
fi
count=$1
shift
# A port that nobody listens on now, below those that the system hands out by itself (Linux: from 32768).
listened() { (: < "/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=${PORT:-$((20000 + RANDOM % 12000))}
while [ -z "${PORT:-}" ] && listened "$port"; do
    port=$((20000 + RANDOM % 12000))
done
export STEMSEP_COORDINATOR="127.0.0.1:$port" STEMSEP_PROCESSES="$count"
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-1}"
# The GPUs to share out: those that CUDA_VISIBLE_DEVICES names, or all.
IFS=, read -ra gpus <<< "${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, || true)}"
if [ "${#gpus[@]}" -gt 0 ] && [ $((${#gpus[@]} % count)) -ne 0 ]; then
    echo "$0: ${#gpus[@]} GPUs do not divide over $count processes; start another number, or set CUDA_VISIBLE_DEVICES" >&2
    exit 2
fi
share=$((${#gpus[@]} / count))
if [ "${#gpus[@]}" -gt 1 ]; then
    source "$(dirname "$0")/gpu_flags.sh"
fi

processes=()
stop() { kill -KILL "${processes[@]}" 2>/dev/null || true; }    # processes of jax.distributed catch SIGTERM
trap 'stop; exit 130' INT
trap 'kill -TERM "${processes[@]}" 2>/dev/null || true' TERM
for ((i = 0; i < count; i++)); do
    mine=$(IFS=,; echo "${gpus[*]:i * share:share}")
    (
        if [ "$share" -gt 0 ]; then export CUDA_VISIBLE_DEVICES=$mine; fi
        STEMSEP_PROCESS=$i exec "$@"
    ) &
    processes+=($!)
done
left=$count
while [ "$left" -gt 0 ]; do
    status=0
    wait -n || status=$?        # the next one to end; 127 where all have been waited for
    if [ "$status" -gt 128 ] && [ "$(jobs -rp | wc -l)" -eq "$left" ]; then      # a signal ended the waiting, no process
        continue
    fi
    left=$((left - 1))
    if [ "$status" -ne 0 ] && [ "$status" -ne 127 ]; then
        stop
        exit "$status"
    fi
done
