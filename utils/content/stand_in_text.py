"""The stand-in synopsis: sentences composed from title, year and genres, and from nothing else.

What is said of a genre is said of the genre, never of the movie, so no plot is invented; the words
are those by which a text encoder tells one genre from another.
"""

import hashlib
import random

from utils.content.movie import Movie, both_titles

_SAME_GENRE = {"Children's": "Children", "Musicals": "Musical", "Science Fiction": "Sci-Fi"}
_LONGEST_TITLE = 200
# Words before the noun, in the order in which English puts them.
_MODIFIERS = {
    "Drama": "dramatic",
    "Animation": "animated",
    "Children": "children's",
    "Romance": "romantic",
    "Sci-Fi": "science-fiction",
    "Fantasy": "fantasy",
    "Horror": "horror",
    "Mystery": "mystery",
    "Crime": "crime",
    "War": "war",
    "Action": "action",
    "Adventure": "adventure",
    "Comedy": "comedy",
    "Musical": "musical",
}
_NOUNS = {
    "Film-Noir": "film noir",
    "Western": "western",
    "Documentary": "documentary",
    "Thriller": "thriller",
    "Musical": "musical",
    "Drama": "drama",
    "Comedy": "comedy",
}
_ABOUT = {
    "Action": ("fights, chases and stunts", "danger met with speed and force", "physical courage under fire"),
    "Adventure": ("journeys, quests and far-off places", "explorers and treasure", "travel into the unknown"),
    "Animation": ("drawn or computer-made characters", "cartoon worlds", "pictures brought to life frame by frame"),
    "Children": ("stories for young viewers and families", "childhood, friendship and play", "kids and their families"),
    "Comedy": ("humour, mishaps and laughter", "jokes and funny situations", "people at their most ridiculous"),
    "Crime": ("gangsters, robberies and the police", "detectives, criminals and the law", "heists and murder cases"),
    "Documentary": ("real people and true events", "facts, interviews and archive footage", "the world as it is"),
    "Drama": ("people, families and hard choices", "emotion and conflict in everyday life", "character and its trials"),
    "Fantasy": ("magic, myth and imaginary kingdoms", "wizards, spells and legends", "worlds where wonders are real"),
    "Film-Noir": (
        "shadows, private eyes and fatal women",
        "doomed men in dark city streets",
        "cynicism and moral darkness",
    ),
    "Horror": ("fear, monsters and the supernatural", "terror, blood and nightmares", "ghosts, killers and dread"),
    "IMAX": ("giant screens and sweeping pictures",),
    "Musical": ("songs, dance and stage numbers", "singers and their music", "melody and choreography"),
    "Mystery": ("riddles, clues and hidden truths", "secrets and investigations", "puzzles and suspects"),
    "Romance": ("love, passion and longing", "couples and affairs of the heart", "falling in love"),
    "Sci-Fi": ("space, robots and the future", "technology and alien worlds", "science pushed past its limits"),
    "Thriller": ("suspense, tension and danger", "conspiracies and pursuit", "fear of what comes next"),
    "War": ("soldiers, battles and the cost of conflict", "armies at the front", "combat and its aftermath"),
    "Western": ("cowboys, outlaws and the frontier", "sheriffs, horses and gunfights", "the American West"),
}
_SPOKEN = {
    "Sci-Fi": "science fiction",
    "Film-Noir": "film noir",
    "Children": "children's films",
    "IMAX": "IMAX films",
    "Musical": "musicals",
    "War": "war films",
    "Western": "westerns",
    "Crime": "crime films",
    "Action": "action films",
    "Thriller": "thrillers",
    "Documentary": "documentaries",
}
_PLURAL = {spoken for spoken in _SPOKEN.values() if spoken.endswith("s")}


def synopsis(movie: Movie) -> str:
    """Return two or three sentences on ``movie`` from its title, year and genres; the same for the same facts."""
    rng = random.Random(hashlib.sha256(repr((movie.title, movie.year, movie.genres)).encode()).hexdigest())
    title, other = (name[:_LONGEST_TITLE].rstrip() for name in both_titles(movie.title))
    genres = list(dict.fromkeys(_SAME_GENRE.get(genre, genre) for genre in movie.genres))
    known = [genre for genre in genres if genre in _ABOUT]
    name = f"{title} ({other})" if title and other else title or "This untitled movie"
    kind = _kind(known)
    dated = f"{movie.year} {kind}" if movie.year is not None else kind
    sentences = [rng.choice((f"{name} is {_a(dated)}.", _released(name, kind, movie.year)))]
    if known:
        sentences.append(_tradition(known, rng))
    else:
        sentences.append("MovieLens lists no genre for it.")
    if movie.year is not None:
        sentences.append(_when(movie.year, rng))
    elif len(known) > 1:
        sentences.append(f"MovieLens files it under {_listed([_spoken(genre) for genre in known])}.")
    return " ".join(sentences)


def _kind(genres: list[str]) -> str:
    """Return a noun phrase: ["Action", "Sci-Fi"] is "science-fiction action film"."""
    noun = next((genre for genre in _NOUNS if genre in genres), None)
    words = [word for genre, word in _MODIFIERS.items() if genre in genres and genre != noun]
    if noun not in ("Thriller", None) and "Thriller" in genres:
        words.append("thriller")
    words = ["comic" if word == "comedy" and noun == "Musical" else word for word in words]
    phrase = " ".join([*words, _NOUNS[noun] if noun else "film"])
    return f"{phrase} shown in IMAX" if "IMAX" in genres else phrase


def _released(name: str, kind: str, year: int | None) -> str:
    if year is None:
        return f"{name} is {_a(kind)} whose year is not known."
    return f"Released in {year}, {name} is {_a(kind)}."


def _tradition(genres: list[str], rng: random.Random) -> str:
    """Return a sentence on what the first two or three genres usually deal with."""
    chosen = rng.sample(genres, min(len(genres), 3))
    parts = []
    for number, genre in enumerate(chosen):
        spoken, about = _spoken(genre), rng.choice(_ABOUT[genre])
        if number == 0:
            verb = "deal" if spoken in _PLURAL else "deals"
            parts.append(f"{spoken[0].upper()}{spoken[1:]} usually {verb} with {about}")
        else:
            parts.append(f"{spoken} with {about}")
    return _listed(parts, ", ") + "."


def _when(year: int, rng: random.Random) -> str:
    decade, place = year // 10 * 10, year % 10
    part = "early" if place < 4 else "middle" if place < 7 else "late"
    when = f"the middle of the {decade}s" if part == "middle" else f"the {part} {decade}s"
    return rng.choice((f"It dates from {when}.", f"It belongs to the cinema of {when}.", f"It was made in {when}."))


def _spoken(genre: str) -> str:
    return _SPOKEN.get(genre, genre.lower())


def _a(phrase: str) -> str:
    # "an 1895 film": eighteen begins with a vowel; "an IMAX film" does not occur, IMAX stands last.
    return f"{'an' if phrase[0] in 'aeiou' or phrase.startswith('18') else 'a'} {phrase}"


def _listed(parts: list[str], comma: str = ", ") -> str:
    return parts[0] if len(parts) == 1 else f"{comma.join(parts[:-1])} and {parts[-1]}"
