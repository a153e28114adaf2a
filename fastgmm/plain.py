"""Records as plain values, and back: what JSON knows, with arrays beside it.

Plain values are None, booleans, numbers, text, lists, mappings by text, and arrays. A NamedTuple or
dataclass becomes the mapping of its fields; the way back goes by the annotations of its fields, so
that a file only ever fills records that the reader asks for.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

R = TypeVar("R")

ARRAY = "$array"
"""The key under which a file's header names an array."""


def plain(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return what JSON knows of a value; its arrays are put aside under running numbers.

    Raises TypeError for what is neither plain nor a record.
    """
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = value
        return {ARRAY: name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    fields = _fields(type(value))
    if fields is not None:
        return {name: plain(getattr(value, name), arrays) for name in fields}
    if isinstance(value, list | tuple):
        return [plain(one, arrays) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one, arrays) for name, one in value.items()}
    raise TypeError(f"a {type(value).__name__} cannot be kept in a file")


def with_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Put the arrays back in their places; KeyError if one is missing."""
    if isinstance(value, list):
        return [with_arrays(one, arrays) for one in value]
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return arrays[value[ARRAY]]
        return {name: with_arrays(one, arrays) for name, one in value.items()}
    return value


def record(kind: Any, value: Any) -> Any:
    """Return a plain value as what an annotation says: records are made of mappings.

    A field with a default may be missing: files are older than what records learn later.
    Raises TypeError, KeyError or AttributeError if the value does not fit.
    """
    fields = _fields(kind)
    if fields is not None:
        hints, defaults = _hints(kind), _defaults(kind)
        there = [name for name in fields if name in value or name not in defaults]
        return kind(**{name: record(hints[name], value[name]) for name in there})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (some,) = [argument for argument in arguments if argument is not types.NoneType]
        return None if value is None else record(some, value)
    if origin is list:
        return [record(arguments[0], one) for one in value]
    return value


def resembling(template: R, value: Any) -> R:
    """Return a plain value as the same kind of record as another, or list of records."""
    if isinstance(template, list | tuple) and _fields(type(template)) is None:
        pairs = zip(template, value, strict=True)
        return type(template)([resembling(*pair) for pair in pairs])
    result: R = record(type(template), value)
    return result


def _fields(kind: Any) -> tuple[str, ...] | None:
    """Return the names of a record's fields, None if a type is no record."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache
def _defaults(kind: Any) -> frozenset[str]:
    """Return the names of a record's fields that have a default."""
    if issubclass(kind, tuple):
        return frozenset(kind._field_defaults)
    missing = dataclasses.MISSING
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is not missing or field.default_factory is not missing
    )
