"""Snapshots of golden runs with syrupy: one readable text file a test. Needs the extra ``pytest-starling[syrupy]``.

A fixture says that snapshots of this test are transcripts, ``snapshot.use_extension(TranscriptExtension)``; then
``assert golden_run.transcript == snapshot``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
except ImportError as error:
    raise ImportError("pip install 'pytest-starling[syrupy]'") from error

if TYPE_CHECKING:
    from syrupy.types import SerializedData

__all__ = ["TranscriptExtension"]


class TranscriptExtension(SingleFileSnapshotExtension):
    """Keeps ``golden_run.transcript``, or any text, as it is: ``__snapshots__/<module>/<test>.transcript.txt``."""

    _write_mode = WriteMode.TEXT
    file_extension = "transcript.txt"

    def serialize(self, data: Any, **options: Any) -> SerializedData:
        """The text itself, ending in a newline.

        Raises:
            TypeError: ``data`` is no text.
        """
        del options
        if not isinstance(data, str):
            raise TypeError(
                f"TranscriptExtension keeps text such as golden_run.transcript, not {type(data).__name__}: use another "
                "syrupy extension for that"
            )
        return f"{data.rstrip()}\n"
