"""The Python surface of HugeCTR 25.03 as data (``api.json``), and the check of every call against it.

``api.json`` lists each function, class and method with its overloads; an argument is written
``name: type = default``. ``unsigned`` and ``long`` are 64-bit, ``int`` is 32-bit. ``bind`` is the one
place where arguments are matched, so nothing here is a signature written by hand.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import (
    MissingArgument,
    PositionalArgument,
    StandInError,
    UnknownArgument,
    UnknownEnumMember,
    UnknownName,
    WrongType,
)

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "api.json").read_text())
_WHOLE = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1), "unsigned": (0, 2**64 - 1)}
_NEAREST_FIRST = (WrongType, MissingArgument, UnknownArgument, PositionalArgument)


@dataclass(frozen=True)
class Member:
    """One member of an enum, such as Layer_t.ReLU."""

    enum: str
    name: str

    def __repr__(self) -> str:
        return f"hugectr.{self.enum}.{self.name}"


class Enum:
    """An enum of HugeCTR: its members are attributes, and nothing else is."""

    def __init__(self, name: str, members: Sequence[str]) -> None:
        self.__dict__.update({member: Member(name, member) for member in members})
        self._name, self._members = name, tuple(members)

    def __getattr__(self, name: str) -> Any:
        raise UnknownEnumMember(f"hugectr.{self._name} has no member {name!r}{_nearest(name, self._members)}")


ENUMS = {name: Enum(name, members) for name, members in TABLE["enums"].items()}


class Record:
    """An object that HugeCTR builds from arguments and that scripts hand on: its arguments, read-only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind = type(self).__name__
        values, given = bind(f"hugectr.{kind}", TABLE["classes"][kind], args, kwargs)
        self._fill(values, given)

    @classmethod
    def of(cls, values: Mapping[str, Any], given: frozenset[str]) -> "Record":
        """Build one without a constructor, as CreateSolver does."""
        record = cls.__new__(cls)
        record._fill(values, given)
        return record

    def _fill(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        self.__dict__.update(values)
        self.__dict__["given"] = given

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnknownName(f"hugectr.{type(self).__name__}.{name} cannot be set; pass it where the object is made")

    def __getattr__(self, name: str) -> Any:
        raise UnknownName(f"hugectr.{type(self).__name__} has no attribute {name!r}{_nearest(name, self.__dict__)}")


RECORDS: dict[str, type[Record]] = {
    name: type(name, (Record,), {}) for name in (*TABLE["classes"], "Solver", "OptParamsPy")
}


def function(name: str, returns: str) -> Callable[..., Record]:
    """Return the module function ``name``, which makes a record of class ``returns``."""

    def call(*args: Any, **kwargs: Any) -> Record:
        values, given = bind(f"hugectr.{name}", TABLE["functions"][name], args, kwargs)
        return RECORDS[returns].of(values, given)

    call.__name__ = name
    return call


def bind(
    where: str, overloads: Sequence[Sequence[str]], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Match a call with the overload that takes it; return all its values, and the names that were given.

    Raises the refusal of the overload that came nearest. Only required arguments that stand before any
    optional one may be given by position: the order of the rest mixes both kinds.
    """
    failures: list[StandInError] = []
    for overload in overloads:
        try:
            return _bind_one(where, overload, args, kwargs)
        except StandInError as failure:
            failures.append(failure)
    nearest = min(failures, key=lambda failure: (_NEAREST_FIRST.index(type(failure)), len(failure.args)))
    alike = [
        failure for failure in failures if (type(failure), len(failure.args)) == (type(nearest), len(nearest.args))
    ]
    raise type(nearest)("; or: ".join(dict.fromkeys(" and ".join(failure.args) for failure in alike))) from None


def _bind_one(
    where: str, overload: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[str]]:
    parsed = [re.fullmatch(r"(\w+): (.+?)(?: = (.*))?", text) for text in overload]
    arguments = {match[1]: (match[2], match[3]) for match in parsed if match}
    names = list(arguments)
    optional = [place for place, name in enumerate(names) if arguments[name][1] is not None]
    leading = optional[0] if optional and len(names) > 1 else len(names)
    given = dict(zip(names, args, strict=False))
    if len(args) > leading or given.keys() & kwargs.keys():
        raise PositionalArgument(
            f"{where}: {len(args)} arguments by position, of which only the first {leading} may be so, once each. "
            f"Use keywords: {', '.join(names[:8])}"
        )
    for name in kwargs:
        if name not in arguments:
            raise UnknownArgument(f"{where} has no argument {name!r}{_nearest(name, names)}")
    given |= kwargs
    missing = [name for name in names if name not in given and arguments[name][1] is None]
    if missing:
        raise MissingArgument(f"{where}: argument {missing[0]!r} ({arguments[missing[0]][0]}) is required")
    wrong = [name for name, value in given.items() if not fits(value, arguments[name][0])]
    if wrong:
        raise WrongType(*(f"{where}: argument {name}={given[name]!r} must be {arguments[name][0]}" for name in wrong))
    values = {name: given[name] if name in given else _default(default) for name, (_, default) in arguments.items()}
    return values, frozenset(given)


def fits(value: Any, kind: str) -> bool:
    """Tell whether a value is of a type of the table. Stricter than Python: a bool is no int, 2.0 is no int."""
    outer, inner = re.fullmatch(r"(\w+)(?:\[(.*)\])?", kind).groups()  # type: ignore[union-attr]
    if outer == "List":
        return isinstance(value, list) and all(fits(item, inner) for item in value)
    if outer == "Tuple":
        kinds = inner.split(", ")
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if outer == "Dict":
        key, item = inner.split(", ")
        return isinstance(value, dict) and all(fits(k, key) and fits(v, item) for k, v in value.items())
    if outer in _WHOLE:
        least, most = _WHOLE[outer]
        return type(value) is int and least <= value <= most
    if outer == "float":
        return type(value) in (int, float)
    if outer in ("str", "bool"):
        return type(value).__name__ == outer
    if outer in ENUMS:
        return isinstance(value, Member) and value.enum == outer
    return outer in RECORDS and isinstance(value, RECORDS[outer])


def _default(text: str) -> Any:
    if text == "...":
        return None
    if text == "{MetricsType.AUC: 1.0}":
        return {ENUMS["MetricsType"].AUC: 1.0}
    enum, _, member = text.partition(".")
    return getattr(ENUMS[enum], member) if enum in ENUMS else json.loads(text)


def _nearest(name: str, known: Iterable[str]) -> str:
    by_lower = {other.lower(): other for other in known if not other.startswith("_")}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f". Did you mean {by_lower[near[0]]!r}?" if near else ""
