"""The script by which a scheduler of job arrays does a batch: each job is a worker of the shared folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ArrayRequest:
    """What is asked of the scheduler: jobs, cores and GiB of each, and its longest time `HH:MM:SS`."""

    jobs: int
    cores: int = 4
    memory_gib: int = 8
    time: str = "12:00:00"


def slurm_script(folder: Path, command: str, request: ArrayRequest) -> str:
    """The text of a script for sbatch; `command` is how m2h is called on the nodes."""
    place = folder.absolute()
    return "\n".join(
        [
            "#!/bin/bash",
            "#SBATCH --job-name=m2h-batch",
            f"#SBATCH --array=0-{request.jobs - 1}",
            f"#SBATCH --cpus-per-task={request.cores}",
            f"#SBATCH --mem={request.memory_gib}G",
            f"#SBATCH --time={request.time}",
            "#SBATCH --requeue",
            f'#SBATCH --output="{place / "logs" / "slurm-%A_%a.out"}"',
            "# Jobs may start, be preempted and be requeued in any order: what one leaves, the others take.",
            f'exec {command} batch run {shlex.quote(str(place))} --shard "$SLURM_ARRAY_TASK_ID/{request.jobs}" -q',
            "",
        ]
    )
