"""Schedulers: None, workers of this machine, or an address; another value, or no answer, is named."""

import sys
import types

import pytest

from utils.handoff.parameters import ParameterError
from utils.machine.dask_cluster import check_scheduler, cluster


def test_schedulers():
    check_scheduler("tcp://10.0.0.1:8786")
    with cluster(None) as client:
        assert client is None
    with pytest.raises(ParameterError, match=r"DASK_SCHEDULER='four' must be None"), cluster("four"):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("utils.machine.dask_cluster.CONNECT_SECONDS", 1)
    with (
        pytest.raises(ParameterError, match=r"gave no answer within 1 seconds. Start it there with"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize(("cudf", "gpus", "wanted"), [(True, 2, "cuda"), (True, 0, "here"), (False, 2, "here")])
def test_workers_have_a_gpu_each_where_cudf_is(monkeypatch, cudf, gpus, wanted):
    """merlin-core refuses any other local cluster beside cuDF."""
    opened = []

    def fake(kind):
        def open_cluster(**given):
            opened.append((kind, given["n_workers"], given["threads_per_worker"]))
            raise KeyError(kind)

        return open_cluster

    monkeypatch.setitem(sys.modules, "dask_cuda", types.SimpleNamespace(LocalCUDACluster=fake("cuda")))
    monkeypatch.setattr("distributed.LocalCluster", fake("here"))
    monkeypatch.setattr("utils.machine.environment.has", lambda package: cudf)
    monkeypatch.setattr("utils.machine.environment.gpus", lambda: ["T4"] * gpus)
    with pytest.raises(KeyError), cluster("local:2"):
        pass
    assert opened == [(wanted, 2, 1)]


def test_more_workers_than_gpus(monkeypatch):
    monkeypatch.setattr("utils.machine.environment.has", lambda package: True)
    monkeypatch.setattr("utils.machine.environment.gpus", lambda: ["T4"])
    wanted = r'DASK_SCHEDULER="local:3": with cuDF each worker needs a GPU of its own, and there are 1. Set "local:1"'
    with pytest.raises(ParameterError, match=wanted), cluster("local:3"):
        pass
