#!/usr/bin/env bash
# Several processes on one machine, each with its own share of the devices: what runs on many hosts, tried on one.
#
#   launch/local.sh 2 python -m stemsep.train --config configs/drums.py
#
# On a CPU, DEVICES=n gives each process n virtual devices (1 if not set). Ends with the first status that is not 0;
# when one process fails, the others are stopped.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: launch/local.sh PROCESSES COMMAND..." >&2
    exit 2
fi
count=$1
shift
port=${PORT:-$((20000 + RANDOM % 20000))}
export STEMSEP_COORDINATOR="127.0.0.1:$port" STEMSEP_PROCESSES="$count"
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-1}"

processes=()
stop() { kill -KILL "${processes[@]}" 2>/dev/null || true; }    # processes of jax.distributed catch SIGTERM
trap 'stop; exit 130' INT TERM
for ((i = 0; i < count; i++)); do
    STEMSEP_PROCESS=$i "$@" &
    processes+=($!)
done
for _ in "${processes[@]}"; do
    status=0
    wait -n || status=$?        # the next one to end; 127 where all have been waited for
    if [ "$status" -ne 0 ] && [ "$status" -ne 127 ]; then
        stop
        exit "$status"
    fi
done
