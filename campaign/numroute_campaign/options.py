"""What the options of a campaign may say: apart from the code that obeys them, to import fast."""

from __future__ import annotations

import enum
from typing import Final

FORMS: Final = ("csv", "parquet", "arrow", "xlsx")
"""Forms of output files."""

LANGUAGES: Final = ("en", "ru")
"""Languages of the report page."""

CATEGORIES: Final = ("advertising", "transactional", "service", "authorisation")
"""Traffic categories that operators price apart."""

SEGMENTS_MAX: Final = 255
"""A concatenated short message has at most this many segments (3GPP TS 23.040, 9.2.3.24.1)."""

REJECTS_MAX: Final = 0.1
"""More rejected rows than one in ten are a list that was not understood."""

PSEUDONYM: Final = "pseudonym"
"""The column of pseudonyms in the files that leave and in the map."""


class Several(enum.Enum):
    """What to do with a cell that holds several numbers."""

    FIRST = "first"
    ALL = "all"
    REJECT = "reject"
