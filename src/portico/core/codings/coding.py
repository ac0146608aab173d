"""What all codings have in common: how they are applied and undone, and what can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol


class CodingError(Exception):
    """A body is not what its coding makes: it is damaged, ends too early, or something follows its end."""


class UnknownCodingError(Exception):
    """A coding that is none of ours; its message is the name."""

    def __init__(self, coding: bytes) -> None:
        super().__init__(coding.decode("ascii", "backslashreplace"))


class TooLargeError(Exception):
    """A body would have more bytes than it may."""


class Encoder(Protocol):
    """Applies a coding to one body."""

    def feed(self, data: bytes) -> bytes:
        """What there is of the coded body after a further piece; it may be nothing yet."""

    def flush(self) -> bytes:
        """What is missing so that all that was fed can be decoded."""

    def end(self) -> bytes:
        """What ends the coded body."""

    def whole(self, body: bytes) -> bytes:
        """The coded form of a body that is there whole; nothing was fed before, and nothing may be after."""


class Decoder(Protocol):
    """Undoes a coding of one body."""

    max_size: int
    """Bytes that it may make in all; it may be raised while the body comes."""

    def feed(self, data: bytes) -> bytes:
        """What a further piece becomes. Raises CodingError and TooLargeError."""

    def end(self) -> bytes:
        """The body is there. Raises CodingError where it is not complete; there is never anything left."""


class Bounded:
    """Counts what a decoder makes."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._size = 0

    def _most(self) -> int:
        """How much a decoder has to make of the next piece at most, to show that it would be too much."""
        return self.max_size - self._size + 1

    def _counted(self, decoded: bytes) -> bytes:
        self._size += len(decoded)
        if self._size > self.max_size:
            raise TooLargeError
        return decoded


class Unit(Protocol):
    """One member of gzip, or one frame of zstd, as the standard library and its backports decode them."""

    @property
    def eof(self) -> bool:
        """Whether its end was read."""

    @property
    def unused_data(self) -> bytes:
        """What was fed behind that."""


_FIRST_STEP: Final = 1024
"""Bytes of a further unit that are tried first: what is not of it is copied, and there may be thousands."""


_UNITS: Final = 100
_UNIT_SIZE: Final = 256
"""Bytes of the coded body for each further unit that it may have: to begin one takes 10 µs, and there are some of 8."""


class JoinedDecoder(Bounded):
    """Decodes units that follow each other.

    `make` gives what decodes the next one, `decode` has it decode a piece into a number of bytes at most, and `errors`
    are what it raises then.
    """

    def __init__(
        self,
        max_size: int,
        make: Callable[[], Unit],
        decode: Callable[[Unit, bytes | memoryview, int], bytes],
        errors: type[Exception],
    ) -> None:
        super().__init__(max_size)
        self._make = make
        self._decode = decode
        self._errors = errors
        self._unit = make()
        self._fed = False
        """Whether the unit has got anything."""
        self._received = 0
        self._further_units = 0

    def feed(self, data: bytes) -> bytes:
        """What a further piece becomes. Raises CodingError and TooLargeError."""
        if not data:
            return b""
        self._received += len(data)
        try:
            if not self._unit.eof:
                self._fed = True
                decoded = self._piece(data)
                if not self._unit.eof or not self._unit.unused_data:
                    return decoded
                return b"".join([decoded, *self._further(memoryview(data)[-len(self._unit.unused_data) :])])
            return b"".join(self._further(memoryview(data)))
        except self._errors as error:
            raise CodingError(str(error)) from error

    def _further(self, data: memoryview) -> list[bytes]:
        """Decode what follows the end of a unit."""
        found, step = [], _FIRST_STEP
        while data:
            if self._unit.eof:
                self._unit, step = self._next(), _FIRST_STEP
            found.append(self._piece(data[:step]))
            data = data[min(step, len(data)) - len(self._unit.unused_data) :]
            step *= 2
        return found

    def _next(self) -> Unit:
        self._further_units += 1
        if self._further_units > _UNITS + self._received // _UNIT_SIZE:
            raise CodingError("it has too many parts")
        return self._make()

    def _piece(self, data: bytes | memoryview) -> bytes:
        return self._counted(self._decode(self._unit, data, self._most()))

    def end(self) -> bytes:
        """The body is there. Raises CodingError where it is not complete; an empty one is."""
        if self._fed and not self._unit.eof:
            raise CodingError("it ends too early")
        return b""
