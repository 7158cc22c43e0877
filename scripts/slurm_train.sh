#!/bin/bash
# Train on several machines with SLURM; run from the folder of train.py:
#   sbatch scripts/slurm_train.sh --dataroot /shared/maps --name maps --checkpoints_dir /shared/checkpoints
# Submitted again, or put into the queue again, it goes on where the run was.
#SBATCH --job-name=pixmorph
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# two minutes before the end of the time: the run saves and ends
#SBATCH --signal=TERM@120
set -eu

first_machine=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun \
    --nnodes "$SLURM_NNODES" \
    --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv_id "$SLURM_JOB_ID" \
    --rdzv_backend c10d \
    --rdzv_endpoint "$first_machine:29500" \
    --max-restarts 3 \
    -- train.py --continue_train auto "$@"
