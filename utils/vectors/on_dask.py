"""Encoding on a Dask cluster: shards are tasks, and each worker loads the encoder once.

Only the list of movies is sent: workers read posters from, and write finished shards to, the data folder, which all
of them must see. When a worker dies, Dask gives its shard to another one.
"""

import functools
import itertools
import json
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.vectors.encoders.base import EncoderError

WORKERS_SECONDS = 60
"""How long to wait for the first worker of a cluster."""
_LOADING = threading.Lock()


@dataclass(frozen=True)
class OnWorker:
    """An ``Encode`` for another process: ``run(items, load(*arguments), batch_size)``, loaded there once.

    ``settings`` are those of the encoder that the notebook loaded, as JSON. A worker whose encoder differs (other
    weights, another precision) is refused: its vectors could not be compared with the others.
    """

    load: Callable[..., Any]
    arguments: tuple[Hashable, ...]
    run: Callable[[Sequence[Any], Any, int], Any]
    batch_size: int
    settings: str

    def __call__(self, items: Sequence[Any]) -> Any:
        """Encode ``items`` here. Raises EncoderError where this worker's encoder is not the notebook's."""
        with _LOADING:
            encoder = _loaded(self.load, self.arguments)
        own, expected = encoder.settings(), json.loads(self.settings)
        if own != expected:
            differing = ", ".join(
                f"{key} is {own.get(key)!r} instead of {expected.get(key)!r}"
                for key in sorted({*own, *expected})
                if own.get(key) != expected.get(key)
            )
            raise EncoderError(
                f"A Dask worker loaded another encoder than this process: {differing}. "
                "Give all of them the same model files, and the same DEVICE ('cpu' works everywhere)."
            )
        return self.run(items, encoder, self.batch_size)


def encode_with(
    load: Callable[..., Any], encoder: Any, run: Callable[..., Any], batch_size: int, client: Any = None
) -> Callable[[Sequence[Any]], Any]:
    """Return the ``Encode`` that does ``run(items, encoder, batch_size)``, here or on the workers of ``client``.

    Raises EncoderError for an encoder that ``load`` has not made, as no worker could load it.
    """
    if client is None:
        return functools.partial(run, encoder=encoder, batch_size=batch_size)
    if encoder.recipe is None:
        raise EncoderError(f"{encoder.name!r} was not made by load_encoder, so that no Dask worker can load it.")
    return OnWorker(load, encoder.recipe, run, batch_size, json.dumps(encoder.settings()))


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[..., Any], arguments: tuple[Hashable, ...]) -> Any:
    return load(*arguments)


def completed(client: Any, task: Callable[..., None], calls: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    """Run ``task(*call)`` on the cluster for each of ``calls``; yield the name of each when it is done.

    A task whose worker dies is run again, on another worker. What a task raises is raised here, and the
    rest is cancelled. Raises EncoderError where there is no worker, where workers cannot import this
    project, and for a task on which one worker after the other dies.
    """
    from distributed import KilledWorker, as_completed

    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise EncoderError(
            f"The Dask cluster has had no worker for {WORKERS_SECONDS} seconds. Start one with `dask worker`, "
            'or set DASK_SCHEDULER to None or "local:N".'
        ) from error
    waiting, running = iter(calls.items()), as_completed()
    names: dict[Any, str] = {}

    def submit() -> None:
        # One a thread: Dask blames what only waited on a worker that died, and workers may come and go.
        for name, call in itertools.islice(waiting, max(1, sum(client.nthreads().values()) - len(names))):
            future = client.submit(task, *call, pure=False)
            names[future] = name
            running.add(future)

    try:
        submit()
        for future in running:
            name = names.pop(future)
            future.result()
            submit()
            yield name
    except KilledWorker as error:
        raise EncoderError(
            f"Shard {name}: worker after worker died while encoding it, most likely for want of memory. Set fewer "
            "workers in DASK_SCHEDULER or a smaller BATCH_SIZE, and run again: what is finished is kept."
        ) from error
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"The Dask workers cannot import what this project needs ({error}). Start them in the project's folder "
            "and environment (PYTHONPATH=. .venv/bin/dask worker tcp://…)."
        ) from error
    finally:
        client.cancel(list(names))
