"""Schedulers: None, workers of this machine, or an address; another value, or no answer, is named."""

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
