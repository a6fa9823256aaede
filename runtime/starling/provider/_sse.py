"""Server-sent events: bytes in, the events' data out (WHATWG HTML, section 9.2.6). Pure.

The SDK decodes these too, but gives only the parsed objects; the raw response hash is taken over the data as it came.
Of an event's fields only ``data`` matters on this wire.
"""

from __future__ import annotations

import re

__all__ = ["SSEDecoder"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Cuts a byte stream into events. An event that the stream's end cut off is never given out.

    Each byte is looked at once, however many blocks an event comes in: an answer in one event may be megabytes long.
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._ended_in_cr = False
        self._data: list[bytes] = []
        self._first = True

    def feed(self, block: bytes) -> list[bytes]:
        """Take the next bytes; returns the data of each event that they completed."""
        if self._ended_in_cr:
            block = b"\r" + block
        # The line feed that belongs to it may be in the next block: decide then.
        self._ended_in_cr = block.endswith(b"\r")
        first, *others = _LINE_END.split(block[:-1] if self._ended_in_cr else block)
        self._open.append(first)
        if not others:
            return []
        lines = [self._rest(), *others]
        self._open = [lines.pop()]
        return [event for line in lines if (event := self._line(line)) is not None]

    def finish(self) -> list[bytes]:
        """The stream has ended; returns the data of an event whose last line was ended but no blank line followed.

        Some servers close right after ``data: [DONE]``. A line without its end is dropped: it may have been cut.
        """
        lines = [self._rest(), b""] if self._ended_in_cr else [b""]
        self._open, self._ended_in_cr = [], False
        return [event for line in lines if (event := self._line(line)) is not None]

    def _rest(self) -> bytes:
        """The line that has not ended yet."""
        return b"".join(self._open)

    def _line(self, line: bytes) -> bytes | None:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            event, self._data = self._data, []
            return b"\n".join(event) if event else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        return None
