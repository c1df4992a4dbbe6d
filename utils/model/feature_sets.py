"""Feature sets: what a model is given of each movie, written as in FEATURES and ``metrics.csv``.

A set is a sum of blocks, such as "ids+genres+facts+text". In brackets may stand a control, "(shuffled)", or the share
of its content that is hidden and how the gaps are filled, "(50% missing, mean)". ``parse`` and ``str`` are the only
places that know this notation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from utils.handoff import parameters
from utils.handoff.contract import BLOCKS as CONTENT

BLOCKS = ("ids", "genres", *CONTENT)
CONTROLS = ("shuffled", "random", "zeros")
"""Instead of a movie's own content: another movie's, noise of the same mean and deviation, or nothing."""
STRATEGIES = ("mean", "zero", "neighbour")
"""How gaps in content are filled (notebook 05)."""
_NOTATION = re.compile(rf"([a-z+]+)(?:\((?:({'|'.join(CONTROLS)})|(\d\d?)% missing, ({'|'.join(STRATEGIES)}))\))?")


@dataclass(frozen=True)
class FeatureSet:
    """The blocks that a model reads, and what was done to their content.

    At most one of ``control`` (of CONTROLS) and ``hidden`` (percent of the movies with a poster, and of those with a
    text, that lose it; gaps are then filled by ``strategy``) is given.
    """

    blocks: tuple[str, ...]
    control: str | None = None
    hidden: int | None = None
    strategy: str | None = None

    def __str__(self) -> str:
        """Return the notation that ``parse`` reads."""
        plain = "+".join(self.blocks)
        if self.control:
            return f"{plain}({self.control})"
        return plain if self.hidden is None else f"{plain}({self.hidden}% missing, {self.strategy})"

    @property
    def content(self) -> list[str]:
        """The blocks that come from the frozen table."""
        return [block for block in self.blocks if block in CONTENT]

    @property
    def judged(self) -> list[str]:
        """The blocks that a control replaces: poster and text, which are measured over the facts; else the facts."""
        return [block for block in self.content if block != "facts"] or self.content

    @property
    def plain(self) -> "FeatureSet":
        """The same blocks, untouched."""
        return FeatureSet(self.blocks)

    @property
    def is_plain(self) -> bool:
        """Whether the content is the movies' own, and all of it."""
        return self.control is None and self.hidden is None

    def without(self, share: float, strategy: str) -> "FeatureSet":
        """Return the set with a ``share`` of posters and texts hidden. Raises ParameterError."""
        parameters.choice("strategy", strategy, STRATEGIES)
        return replace(self, control=None, hidden=percent(share), strategy=strategy)


def parse(text: object) -> FeatureSet:
    """Return the feature set that ``text`` names. Raises ParameterError, which lists what may be named."""
    found = _NOTATION.fullmatch(text) if isinstance(text, str) else None
    blocks = tuple(found[1].split("+")) if found else ()
    ordered = tuple(block for block in BLOCKS if block in blocks)
    if not found or blocks != ordered or blocks[0] != "ids":
        raise parameters.ParameterError(
            f'FEATURES: {text!r} is not a feature set. Write "ids", then any of {", ".join(BLOCKS[1:])} in this order, '
            f'joined by "+", such as "ids+genres+text"; behind it may stand a control, such as "(shuffled)".'
        )
    _, control, hidden, strategy = found.groups()
    chosen = FeatureSet(blocks, control, int(hidden) if hidden else None, strategy)
    if not chosen.is_plain and not chosen.content:
        raise parameters.ParameterError(f"FEATURES: {text!r} has no content to shuffle or hide: add poster or text.")
    return chosen


def parse_all(features: object) -> list[FeatureSet]:
    """Return the sets of FEATURES: one, a list, or a text with commas outside brackets. Raises ParameterError."""
    wanted = re.split(r",(?![^(]*\))", features) if isinstance(features, str) else features
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise parameters.ParameterError(f"FEATURES={features!r} must name one feature set or a list of them.")
    found = [parse(name.strip() if isinstance(name, str) else name) for name in wanted]
    for one in found:
        if found.count(one) > 1:
            raise parameters.ParameterError(f"FEATURES={features!r} names {str(one)!r} twice.")
    return found


def fullest(sets: list[FeatureSet]) -> FeatureSet:
    """Return the set with most blocks, controls left out where there is any other."""
    return max([one for one in sets if one.is_plain] or sets, key=lambda one: len(one.blocks))


def percent(share: float) -> int:
    """Return a share of [0, 1) in whole percent. Raises ParameterError."""
    parameters.fraction("MISSING_SHARES", share)
    found = round(share * 100)
    if abs(share * 100 - found) > 1e-9:
        raise parameters.ParameterError(f"MISSING_SHARES: {share!r} is not a whole percent, such as 0.3. Round it.")
    return found


def check_shares(shares: object) -> None:
    """Raise ParameterError unless MISSING_SHARES is a list of shares in whole percent."""
    if not isinstance(shares, (list, tuple)):
        raise parameters.ParameterError(f"MISSING_SHARES={shares!r} must be a list of shares, such as [0.5], or [].")
    for share in shares:
        percent(share)


def controlled(
    vectors: np.ndarray, columns: Mapping[str, tuple[int, int]], features: FeatureSet, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Return the frozen table float32 [all rows, width] as ``features.control`` makes it; itself where there is none.

    Only the columns of the ``judged`` blocks (and their flags) change, and of these only the movies' ``rows`` int64.
    Random vectors are normal with each column's own mean and deviation.
    """
    if features.control is None:
        return vectors
    generator, table = np.random.default_rng(seed), vectors.copy()
    order = generator.permutation(rows)
    for block in features.judged:
        for start, stop in (columns[name] for name in (block, f"has_{block}") if name in columns):
            own = vectors[rows, start:stop]
            if features.control == "shuffled":
                table[rows, start:stop] = vectors[order, start:stop]
            elif features.control == "random":
                noise = generator.normal(own.mean(0), own.std(0), own.shape)
                table[rows, start:stop] = noise.astype(np.float32)
            else:
                table[rows, start:stop] = 0
    return table
