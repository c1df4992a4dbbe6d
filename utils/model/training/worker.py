"""One process of a distributed training: ``torchrun -m utils.model.training.worker JOB_FOLDER``.

gloo on CPUs, nccl on GPUs. Rank 0 writes the snapshot and the learning curve.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from utils.machine import threads
from utils.model.architectures import Inputs
from utils.model.graph import Graph
from utils.model.training import checkpoints, fit
from utils.model.training.fit import Job, Settings, Split


def main(folder: Path) -> None:
    """Train this rank's share of the job in ``folder``."""
    described = json.loads((folder / "job.json").read_text())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))  # torchrun sets it: the ranks that share this machine
    torch.set_num_threads(max(1, threads.allowed() // here))
    inputs = described["inputs"]
    inputs["content_columns"] = {name: tuple(span) for name, span in inputs["content_columns"].items()}
    with (
        np.load(folder / "train.npz") as train,
        np.load(folder / "monitor.npz") as monitor,
        np.load(folder / "start.npz") as start,
    ):
        job = Job(
            graph=Graph.from_dict(described["graph"]),
            train=Split.of(train),
            monitor=Split.of(monitor),
            frozen=np.load(folder / "frozen.npy"),
            inputs=Inputs(**inputs),
            settings=Settings(**described["settings"]),
            seed=described["seed"],
            start=dict(start),
        )
    run = fit.fit(job, rank, ranks)
    if rank == 0:
        checkpoints.save(run, Path(described["prefix"]))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
