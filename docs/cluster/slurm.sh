#!/usr/bin/env bash
# Trains a suite on the nodes of one Slurm job: Ray on every node, the driver on the first one.
#
#   sbatch --nodes=4 --cpus-per-task=32 docs/cluster/slurm.sh core --store /shared/runs
#
# What follows the script goes to `recipebench run`. Submitting it again goes on where it stopped.
#SBATCH --job-name=recipebench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --no-kill
# For GPUs add --gpus-per-node=4, to the command above or here. `--no-kill`: a lost node does not end the job.
set -euo pipefail

# Where recipebench is installed, with the extra ray, on a file system that all nodes see.
RECIPEBENCH_BIN="${RECIPEBENCH_BIN:-$SLURM_SUBMIT_DIR/.venv/bin}"
export PATH="$RECIPEBENCH_BIN:$PATH"
export RAY_USAGE_STATS_ENABLED=0

# Only who knows this job's token may use the cluster: whoever can reach an open one can run code on it.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_TOKEN

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000)) # jobs that share a node do not meet
cpus="${SLURM_CPUS_PER_TASK:-1}"
gpus="${SLURM_GPUS_ON_NODE:-0}"
# A step a node, so that losing one of them ends that step only.
step=(srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --overlap)
on_first=("${step[@]}" --nodelist="${nodes[0]}")
address="$("${on_first[@]}" hostname --all-ip-addresses | awk '{print $1}'):$port"

trap 'jobs -p | xargs --no-run-if-empty kill; wait' EXIT
"${on_first[@]}" ray start --head --block --disable-usage-stats --include-dashboard=false \
    --node-ip-address="${address%:*}" --port="$port" --num-cpus="$cpus" --num-gpus="$gpus" &
for _ in $(seq 60); do
    "${on_first[@]}" ray health-check --address="$address" && break
    sleep 2
done
for node in "${nodes[@]:1}"; do
    "${step[@]}" --nodelist="$node" ray start --address="$address" --block --disable-usage-stats \
        --num-cpus="$cpus" --num-gpus="$gpus" &
done

"${on_first[@]}" recipebench run "$@" --executor ray --address "$address" \
    --workers "$((cpus * ${#nodes[@]}))"
