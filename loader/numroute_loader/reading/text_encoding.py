"""One file, one encoding: which one it is shows in the texts, and a mixture is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class OneEncoding:
    """Decodes the texts of one file, all of which must be in the same of a few encodings."""

    def __init__(self, encodings: Sequence[str], settled: str | None = None) -> None:
        """Try the encodings in this order; ``settled`` is one that is known already."""
        self._encodings = encodings
        self.settled = settled

    def decode(self, raw: bytes) -> str | None:
        """Return the text, or None when it is not in the encoding of the texts before it.

        A text of ASCII fits every encoding and settles nothing. Cyrillic in windows-1251 is not
        valid UTF-8 but by a rare accident, and the other way round it is, but as gibberish: so the
        first encoding that fits is the one.
        """
        if raw.isascii():
            return raw.decode("ascii")
        for encoding in self._encodings:
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            if self.settled not in (None, encoding):
                return None
            self.settled = encoding
            return text
        return None

    def fault(self) -> str:
        """Tell what is wrong with a text that ``decode`` refused."""
        known = " or ".join(self._encodings)
        if self.settled is None:
            return f"the text is not {known}"
        return f"the text is not {self.settled}, as the lines before it are: mixed encodings"
