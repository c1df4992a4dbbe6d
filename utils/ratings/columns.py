"""What the tables of ratings and of movies share: their error, and which of their columns is which of ours."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from utils.handoff.parameters import ParameterError


class DataError(ValueError):
    """A file of ratings or movies cannot be used; the message names the file, the line, and what to do."""


def shown(text: str, most: int = 300) -> str:
    """Return what a message may show of a text from outside: its beginning, without anything that moves a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


COUNTED = "plays playcount playcounts listens listencount clicks click views count hours interactions quantity"
"""Names of columns that say how often, not how good."""
USUAL = {
    "userId": "userid user uid reviewerid customerid customer visitorid memberid accountid playerid profileid username "
    "useridhash reviewer member account",
    "movieId": "movieid itemid bookid isbn isbn13 asin parentasin productid sku animeid artistid trackid songid "
    "albumid gameid appid recipeid businessid articleid newsid videoid tmdbid imdbid tconst item product uid id movie",
    "rating": "rating ratings score bookrating userrating ratingvalue stars star overall value weight label target "
    f"{COUNTED} like liked",
    "timestamp": "timestamp time unixreviewtime datetime date ratedat reviewedat createdat updatedat reviewtime "
    "reviewdate ratingdate eventtime eventdate playedat listenedat listenedon day ts t",
    "title": "title name movietitle booktitle itemtitle productname producttitle originaltitle primarytitle itemname "
    "moviename artistname trackname productdisplayname",
    "genres": "genres genre class categories category tags subjects shelves listedin producttype",
    "year": "year releaseyear yearofpublication publicationyear originalpublicationyear startyear yearreleased "
    "yearpublished releasedate published publicationdate",
    "imdbId": "imdbid imdb tconst",
    "tmdbId": "tmdbid tmdb",
    "synopsis": "synopsis description plot overview summary text blurb about",
}
"""Names that other data sets give to our columns, in the order in which they are looked for, without case and marks."""


def plain_name(name: str) -> str:
    """Return a column's name without case, marks and RecBole's type: "User-ID" and "user_id:token" are "userid"."""
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def check_given(given: object) -> Mapping[str, str]:
    """Return the parameter COLUMNS; raise ParameterError unless it maps names of ours to names of columns."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given.values()):
        raise ParameterError(f'COLUMNS={given!r} must map our names to yours, as in {{"movieId": "isbn"}}, or be None.')
    if unknown := [name for name in given if name not in USUAL]:
        raise ParameterError(f"COLUMNS names {unknown[0]!r}, which is none of ours: {', '.join(USUAL)}.")
    return given


def known_names(found: Iterable[str], given: Mapping[str, str]) -> int:
    """Return how many of the ``found`` names are of columns that are known or ``given``."""
    usual = {name for names in USUAL.values() for name in names.split()} - {"t", "id"}
    return sum(name in given.values() or plain_name(name) in usual for name in found)


def which(
    path: Path,
    found: list[str],
    needed: Collection[str],
    optional: Collection[str],
    given: Mapping[str, str],
    first: str | None = None,
) -> dict[str, str]:
    """Return which column of ``found`` is which of ours: the one ``given``, of our own name, or of a usual one.

    ``first`` is a name to prefer for movieId: the one it has in the other file. Raises DataError for one of ``needed``
    that is missing, and for one that is there twice.
    """
    plain = [plain_name(name) for name in found]
    chosen: dict[str, str] = {}
    for ours in [*needed, *optional]:
        names = [given.get(ours), ours, first if ours == "movieId" else None]
        exact = next((name for name in names if name in found), None)
        if exact is None:
            free = [name for name in USUAL[ours].split() if name in plain]
            if ours not in ("imdbId", "tmdbId"):  # They may be the movieId at the same time.
                free = [name for name in free if found[plain.index(name)] not in chosen.values()]
            exact = found[plain.index(free[0])] if free else None
        if exact is not None:
            chosen[ours] = exact
            if f"{exact} (2)" in found:
                raise DataError(f"{path} has the column {exact} more than once. Keep one.")
    if missing := [name for name in needed if name not in chosen]:
        raise DataError(
            f"{path} has no column {', '.join(missing)}. Found: {shown(', '.join(found)) or 'nothing'}. Expected: "
            f'{", ".join(needed)}. Name yours with COLUMNS, such as COLUMNS={{"{missing[0]}": "…"}}.'
        )
    return chosen


def said(chosen: Mapping[str, str]) -> str:
    """Return in words which columns have names that are not ours; "" where all are."""
    return ", ".join(f"{shown(name)} is {ours}" for ours, name in chosen.items() if name != ours)
