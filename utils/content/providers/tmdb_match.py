"""Which of TMDB's records is the movie that was meant."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from utils.content.movie import Movie, both_titles

_ARTICLES = re.compile(r"^(the|a|an|le|la|les|l|el|los|las|il|lo|gli|i|der|die|das|ein|eine|un|une) (?=.)")


def normalised(title: str) -> str:
    """Return ``title`` in lower case without accents, punctuation and leading article; "&" is "and"."""
    plain = unicodedata.normalize("NFKD", title.replace("&", " and ")).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = re.sub(r"[\W_]+", " ", re.sub(r"['\u2019]", "", plain)).strip()
    return _ARTICLES.sub("", words)


def _same_title(movie: Movie, facts: Mapping[str, Any]) -> bool:
    """Whether one of the movie's titles is exactly one of the record's, both normalised."""
    mine = {normalised(title) for title in (movie.title, *both_titles(movie.title))} - {""}
    theirs = (facts.get(name) for name in ("title", "original_title", "name", "original_name"))
    return bool(mine & {normalised(title) for title in theirs if isinstance(title, str)})


def _year_gap(movie: Movie, facts: Mapping[str, Any], unknown: int = 0) -> int:
    """Return the years between movie and record; ``unknown`` where one of them has none."""
    dates = (str(facts.get(name)) for name in ("release_date", "first_air_date", "air_date"))
    year = next((int(date[:4]) for date in dates if re.match(r"[12][0-9]{3}", date)), None)
    return unknown if year is None or movie.year is None else abs(year - movie.year)


def same_movie(movie: Movie, facts: Mapping[str, Any]) -> bool:
    """Whether a record under the movie's TMDB id is that movie: by the IMDb id, or the same title and year within 1.

    IMDb merges records, so a different number alone does not make another movie. Where one of them has no IMDb id, the
    title or the year will do, but one must: TMDB numbers films and series apart, so a series' id is some film's, too.
    """
    mine, theirs = movie.imdb, facts.get("imdb_id")
    if mine is None or not isinstance(theirs, str) or not re.fullmatch(r"tt[0-9]{1,12}", theirs):
        return _same_title(movie, facts) or _year_gap(movie, facts, unknown=2) <= 1
    return int(theirs[2:]) == int(mine[2:]) or (_same_title(movie, facts) and _year_gap(movie, facts) <= 1)


def best_match(movie: Movie, results: object, *, title_needed: bool) -> dict[str, Any] | None:
    """Return the record among ``results`` that is the movie, or None.

    With ``title_needed`` (a search) only an exact title with a year within 1 will do. Without (asked by IMDb id) any
    record will, and these two decide between several. Then the nearer year, the more votes and the lower id win, so
    that repeated and rearranged results give the same record.
    """
    records = [each for each in (results if isinstance(results, list) else []) if isinstance(each, dict)]
    records = [each for each in records if type(each.get("id")) is int]
    exact = [each for each in records if _same_title(movie, each) and _year_gap(movie, each) <= 1]
    candidates = exact if exact or title_needed else records
    return min(candidates, key=lambda each: (_year_gap(movie, each), -_votes(each), each["id"]), default=None)


def _votes(facts: Mapping[str, Any]) -> float:
    votes = facts.get("vote_count")
    return votes if isinstance(votes, (int, float)) and votes == votes else 0
