"""Streams that lose words, but no work."""

from contextlib import suppress
from typing import Any, TextIO

UNWRITABLE = (OSError, ValueError)
"""What a stream raises that takes no more; the second where it was closed."""


class Unheard:
    """A stream that may be full, closed, a pipe that nobody reads: words get lost, no work does."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        if self._stream is not None:
            with suppress(*UNWRITABLE):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits if that is possible."""
        if self._stream is not None:
            with suppress(*UNWRITABLE):
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # asked by copy and pickle before there is one
            raise AttributeError(name)
        return getattr(self._stream, name)
