#!/usr/bin/env bash
# sbatch docker/slurm.sh PROBLEM [OPTIONS]    a comparison on one node, which goes on by itself after each time limit
#
# Change the lines below to your site's partitions and limits. COLDFLOW is how your site starts the command on many ranks: by
# Open MPI of an installation, or from the image of docker/coldflow.def.
#SBATCH --job-name=coldflow
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

problem=$1
shift
# A file's own name, without folder and ending, is the name of its run.
name=$(basename "$problem" .toml)
out=${COLDFLOW_OUT:-results/$name}
command=${COLDFLOW:-mpirun -n ${SLURM_NTASKS:-1} coldflow}
export OMP_NUM_THREADS=1

# Slurm signals this script alone: pass it on, and wait until the run has written its checkpoint. The trap is set before the run
# begins, since a signal may come between the two.
run=
stopped=0
trap 'stopped=$((stopped + 1)); [ -z "$run" ] || kill -TERM "$run" 2> /dev/null' TERM
$command compare "$problem" --out "$out" --resume "$@" &
run=$!
[ "$stopped" = 0 ] || kill -TERM "$run" 2> /dev/null
# A signal ends the waiting, with the signal's code: only without one is it the code of the run, which bash keeps if it has ended.
code=
while [ -z "$code" ]; do
    before=$stopped
    wait "$run"
    code=$?
    [ "$stopped" = "$before" ] || code=
done

echo "coldflow ended with exit code $code"
# 143: stopped by the signal; 3: by coldflow's own time limit. mpirun may turn the first into a code of its own, and the signal may
# come before the run has begun: then run.json tells. Anything else is the end, well or not.
interrupted() {
    [ "$stopped" != 0 ] && [ "$code" != 0 ] && [ "$code" != 2 ] || return 1
    [ "$code" = 143 ] || [ ! -e "$out/run.json" ] || grep -Eq '"exit_reason": "(interrupted|running)"' "$out/run.json"
}
if interrupted || [ "$code" = 3 ]; then
    [ -z "${SLURM_JOB_ID:-}" ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
