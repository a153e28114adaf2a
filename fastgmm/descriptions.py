"""Descriptions: JSON that is equal for equal settings, in this process and in any later one."""

import hashlib
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

SMALL_BYTES = 2**20
"""Larger arrays that a function holds, such as the rows, are told by their shape: they may be a
file's, or all there is memory for."""


def described(value: Any) -> Any:
    """Return what tells a setting from others: arrays by a hash, functions by what they do."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.RandomState):
        return "a RandomState"  # its state is kept with the fit
    if callable(value) and not hasattr(value, "__array__"):
        return f"{_name(value)} {hashed(repr(_identity_of(value)).encode())}"
    try:
        array = np.ascontiguousarray(value)
    except ValueError:  # a tuple of arrays
        return [described(one) for one in value]
    content = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return f"{array.dtype} {array.shape} {hashed(content)}"


def hashed(content: bytes) -> str:
    """Return a short hash."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _name(function: Any) -> str:
    """Return the name of a function or class; of an object, that of its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _identity_of(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Return a value, or what makes a function what it is, as plain values in one order.

    Its code, its defaults and what it has closed over or been bound to; of globals the names. A
    function in C is its name, an object that cannot be called its class, and so is a list or
    dictionary that was closed over: functions keep their books there, from call to call.
    ``within`` are those that are being told: a function may have closed over itself.
    """
    if id(value) in within:
        return "itself"

    def tell(*parts: Any) -> list[Any]:
        return [_identity_of(part, (*within, id(value))) for part in parts]

    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            return value
        case tuple() | list():
            return tell(*value)
        case set() | frozenset():  # strings lie in another order in every process
            return sorted(map(repr, tell(*value)))
        case dict():
            return sorted(map(repr, zip(value, tell(*value.values()), strict=True)))
        case CodeType():
            return [value.co_code, value.co_names, tell(*value.co_consts)]
        case partial():
            return tell(value.func, value.args, value.keywords)
        case MethodType():
            return tell(value.__func__, _attributes(value.__self__))
        case FunctionType():
            closed = [_class_of_books(_content_of_cell(cell)) for cell in value.__closure__ or ()]
            defaults = value.__defaults__, value.__kwdefaults__
            return [_name(value), *tell(value.__code__, *defaults, closed)]
    if isinstance(value, np.ndarray):
        small = value.nbytes <= SMALL_BYTES
        return described(value) if small else [_name(value), str(value.dtype), value.shape]
    if hasattr(value, "__wrapped__"):  # of Numba, of functools.cache
        return [_name(type(value)), *tell(value.__wrapped__)]
    can_be_called = callable(value) and not hasattr(value, "__qualname__")
    return [_name(value), *tell(_attributes(value) if can_be_called else None)]


def _attributes(value: Any) -> dict[str, Any]:
    held = getattr(value, "__dict__", {})
    return {name: _class_of_books(content) for name, content in held.items()}


def _class_of_books(value: Any) -> Any:
    return type(value) if isinstance(value, list | dict | set) else value


def _content_of_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a name that is not bound yet
        return None
