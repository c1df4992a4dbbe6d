"""DASK_SCHEDULER, where 03, 04 and 06 run: this process, Dask workers on this machine, or a running scheduler."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from utils.handoff.parameters import ParameterError
from utils.machine import environment, threads

CONNECT_SECONDS = 10
"""How long a running scheduler may take to answer."""


def check_scheduler(scheduler: object) -> None:
    """Raise ParameterError unless DASK_SCHEDULER is None, "local:N" or "tcp://host:port"."""
    if scheduler is not None and not re.fullmatch(r"tcp://\S+:\d+|local:[1-9]\d*", str(scheduler)):
        raise ParameterError(
            f'DASK_SCHEDULER={scheduler!r} must be None (this process), "local:N" (N worker processes) '
            'or "tcp://host:port" (a running scheduler).'
        )


@contextlib.contextmanager
def cluster(scheduler: str | None) -> Iterator[Any]:
    """Yield a Dask client of local worker processes or of a running scheduler, or None for this process.

    Raises ParameterError for a value that is none of these, and for a scheduler that does not answer.
    """
    check_scheduler(scheduler)
    if scheduler is None:
        yield None
        return
    from distributed import Client

    if scheduler.startswith("tcp://"):
        try:
            client = Client(scheduler, timeout=f"{CONNECT_SECONDS}s")
        except OSError as error:
            raise ParameterError(
                f"DASK_SCHEDULER={scheduler!r} gave no answer within {CONNECT_SECONDS} seconds. Start it there with "
                '`dask scheduler`, correct the address, or set "local:N".'
            ) from error
        with client:
            yield client
    else:
        workers = int(scheduler.removeprefix("local:"))
        with threads.divided(workers):
            local = _local(workers)
        with local, Client(local) as client:
            yield client


def _local(workers: int) -> Any:
    """Return a cluster of worker processes; where cuDF is, each has a GPU of its own, as merlin-core demands."""
    if not environment.has("cudf") or not (found := len(environment.gpus())):
        from distributed import LocalCluster

        return LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    if workers > found:
        raise ParameterError(
            f'DASK_SCHEDULER="local:{workers}": with cuDF each worker needs a GPU of its own, and there are {found}. '
            f'Set "local:{found}".'
        )
    from dask_cuda import LocalCUDACluster

    return LocalCUDACluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
