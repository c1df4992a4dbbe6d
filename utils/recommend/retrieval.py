"""The recommendations of every user, from the list model."""

import numpy as np
import pyarrow as pa

from utils.handoff.own_data import with_originals
from utils.model.list_model import ListModel
from utils.study.lists import Judge


def recommendations(judge: Judge, model: ListModel, k: int = 20) -> pa.Table:
    """Return userId, rank (1..k), movieId, score and the original ids for every user; never what they have in train."""
    users = np.arange(len(judge.data.users))
    items, scores = judge.lists(judge.list_scorer(model), users, k)
    kept = items >= 0
    rank = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), items.shape)
    listed = pa.table(
        {
            "userId": np.repeat(judge.data.users, kept.sum(1)),
            "rank": rank[kept],
            "movieId": judge.data.catalogue.movie_ids[items[kept]],
            "score": scores[kept],
        }
    )
    return with_originals(listed, judge.data.store)
