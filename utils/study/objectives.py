"""What a model of notebook 07 is trained to answer: will they like what they rate, or what will they pick next."""

from utils.etl import negative_sampling
from utils.handoff import parameters
from utils.model.training.fit import Settings

ROWS = {"like": "train", "rank": "rank"}
"""Objective to the encoded rows of 06 that it is trained on: ratings, or likes among sampled negatives."""


def settings(
    objective: object, epochs: int, rank_epochs: object, batch_size: int, rate: float, precision: str = "auto"
) -> dict[str, Settings]:
    """Return the settings of each objective asked for: "like", "rank" or "both". Raises ParameterError."""
    parameters.choice("OBJECTIVE", objective, negative_sampling.OBJECTIVES)
    parameters.whole("RANK_EPOCHS", rank_epochs)
    assert isinstance(rank_epochs, int), "checked above"
    passes = {"like": epochs, "rank": rank_epochs}
    wanted = ROWS if objective == "both" else [str(objective)]
    return {name: Settings(passes[name], batch_size, rate, precision) for name in wanted}


def tag(model: str, objective: str) -> str:
    """Return how ``metrics.csv`` calls a model trained for an objective: "multimodal", "multimodal-rank"."""
    return model if objective == "like" else f"{model}-{objective}"
