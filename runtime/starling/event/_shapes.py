"""Payloads of a known shape: equal to one that was proven before, but for what is inside texts, byte strings, integers.

Whether a payload is canonical and of its kind (`starling.event._codec.is_whole`) depends on its structure alone: which
keys there are, of what types the values, how long they are, in which form they are written. Programs write the same
structures again and again. So of a proven payload those bits are found once that may be otherwise, and another of the
same kind and size that agrees in all the rest is right as well. What may be otherwise is

    in a text that is all ASCII, and no key: the lower seven bits of each byte, which is then ASCII again
    in a byte string: everything
    in an integer: everything behind its first byte that is not zero; and that byte, within bounds (see `_Scan.integer`)
    in which it stays in the same form, of the same sign, and not zero, which may have to be left out

and nothing in a key, a float, a bignum and ``attempt``. To agree takes two comparisons of large numbers, and such a
payload need not be decoded, but for the texts that `Lifecycle` asks for, which are where the proven one has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from starling.event._kinds import Kind
from starling.event._lifecycle import RULES, Does

__all__ = ["Shape", "forget_shapes", "known_shape", "learn_shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What payloads of one kind and size have in common. Each is taken for one big-endian number.

    Attributes:
        mask: the bits that count.
        fixed: what they are.
        lift: what is added, so that the first byte of an integer, if it is large enough, carries into its top bit.
        lifted: these top bits, which then are all set.
        turn: where the id of the turn is, if `Lifecycle` asks for it.
        call: likewise that of the call.
        attempt: the number of the attempt; 0 if there is none.
    """

    mask: int
    fixed: int
    lift: int
    lifted: int
    turn: slice | None
    call: slice | None
    attempt: int


class _Known:
    """The shapes of a kind and size, the last one first; and how many payloads in a row were of none of them."""

    __slots__ = ("missed", "shapes")

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.missed = 0


def known_shape(kind: int, payload: bytes) -> Shape | None:
    """Return the shape that proves ``payload`` to be right and no deeper than may be written; None if none does."""
    known = _KNOWN.get((kind, len(payload)))
    if known is not None:
        number = _number(payload)
        for shape in known.shapes:
            if number & shape.mask == shape.fixed and (number + shape.lift) & shape.lifted == shape.lifted:
                known.missed = 0
                return shape
    return None


def learn_shape(kind: int, payload: bytes) -> None:
    """Take note of a payload of no known shape that is right, as was proven otherwise: it may be the next shape.

    To find a shape takes longer than that proof. So it is done for the eighth in a row, the sixteenth, and so on: most
    sizes are met once, and what a program makes up may always be of another shape.
    """
    if len(payload) > _LONGEST:
        return
    known = _KNOWN.get((kind, len(payload)))
    if known is None:
        if len(_KNOWN) >= _MANY:
            forget_shapes()
        known = _KNOWN[kind, len(payload)] = _Known()
    known.missed += 1
    if known.missed >= _PATIENCE and known.missed & (known.missed - 1) == 0:
        known.shapes = [_shape_of(kind, payload), *known.shapes[: _FEW - 1]]


def forget_shapes() -> None:
    """Forget all shapes. Nothing but time depends on them."""
    _KNOWN.clear()


_KNOWN: dict[tuple[int, int], _Known] = {}
_LONGEST, _MANY, _FEW, _PATIENCE = 1024, 256, 4, 8
_number = int.from_bytes


def _shape_of(kind: int, payload: bytes) -> Shape:
    scan = _Scan(payload)
    texts: dict[bytes, slice] = {}
    attempt = 0
    _, fields, at = scan.head(0)
    for _ in range(fields):
        _, size, start = scan.head(at)
        name, at = payload[start : start + size], start + size
        major, n, start = scan.head(at)
        at = scan.item(at, free=name != b"attempt")
        if major == _TEXT:
            texts[name] = slice(start, at)
        elif name == b"attempt":
            attempt = n
    rule, mask, lift = RULES[Kind(kind)], _number(scan.mask), _number(scan.lift)
    return Shape(
        mask=mask,
        fixed=_number(payload) & mask,
        lift=lift,
        lifted=_number(scan.lift.translate(_TOP_BITS)),
        turn=texts.get(b"turn_id") if rule.turn in _NAMED else None,
        call=texts.get(b"call_id") if rule.call in _NAMED else None,
        attempt=attempt,
    )


_NAMED = (Does.OPENS, Does.BELONGS, Does.CLOSES, Does.INTERRUPTS)
_UINT, _NINT, _BYTES, _TEXT, _LIST, _MAP, _TAG = range(7)
_TOP_BITS = bytes([0, *[0x80] * 255])


class _Scan:
    """One walk over a payload that is right. Fills `Shape.mask` and `Shape.lift`, a byte for each of the payload's."""

    __slots__ = ("data", "lift", "mask")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.mask = bytearray(b"\xff" * len(data))
        self.lift = bytearray(len(data))

    def head(self, at: int) -> tuple[int, int, int]:
        """Return the major type of the item at ``at``, its number or length, and where its head ends."""
        major, n = divmod(self.data[at], 32)
        if n < 24:
            return major, n, at + 1
        end = at + 1 + (1 << (n - 24))
        return major, _number(self.data[at + 1 : end]), end

    def item(self, at: int, *, free: bool) -> int:
        """Walk over the item at ``at``, in which something may be otherwise only if it is ``free``. Returns its end."""
        major, n, end = self.head(at)
        if major in (_UINT, _NINT):
            if free and n:
                self.integer(at, n, end)
        elif major in (_BYTES, _TEXT):
            body, end = end, end + n
            if free and (major == _BYTES or self.data[body:end].isascii()):
                self.mask[body:end] = (b"\0" if major == _BYTES else b"\x80") * n
        elif major == _LIST:
            for _ in range(n):
                end = self.item(end, free=free)
        elif major == _MAP:
            for _ in range(n):
                end = self.item(self.item(end, free=False), free=free)
        elif major == _TAG:
            end = self.item(end, free=False)
        return end

    def integer(self, at: int, n: int, end: int) -> None:
        """Free what may be otherwise in an integer whose ``n`` is not zero.

        Its form is the shortest, and its range the same, if it stays between these bounds, with 255 behind each one:

            one byte of type and number     1 to 15; or 16 to 23
            one byte behind that            24 to 127; or 128 to 255
            more: the first that counts     1 to 127; or 128 to 255

        The larger of two is told by its upper bits, the smaller by its upper bits and by what carries into the top one.
        """
        lead = at if end == at + 1 else end - (n.bit_length() + 7) // 8
        first = n if lead == at else self.data[lead]
        smallest = 24 if end == at + 2 else 1
        large = 16 if lead == at else 128
        self.mask[lead + 1 : end] = bytes(end - lead - 1)
        if first >= large:
            self.mask[lead] = 0xF8 if lead == at else 0x80
        else:
            self.mask[lead] = 0xF0 if lead == at else 0x80
            self.lift[lead] = 128 - smallest  # a negative number may come to -1: that is not zero either
