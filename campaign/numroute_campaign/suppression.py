"""Do-not-send lists: read like any list, kept as a set of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.e164 import parse_column
from numroute.errors import InputError, SettingError
from numroute_campaign.lists.opening import OpenList, Wanted
from numroute_campaign.lists.sources import STDIN, find_files
from numroute_campaign.number_set import NumberSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def check_suppress(lists: Sequence[str]) -> None:
    """Make sure that do-not-send lists are files.

    Raises:
        SettingError: One is standard input: the list itself may come from there.
    """
    if STDIN in lists:
        raise SettingError(
            "a do-not-send list cannot come from standard input", hint="Give it as a file"
        )


def read_suppressed(lists: Sequence[str], region: str | None, folder: Path | None) -> NumberSet:
    """Return the numbers of do-not-send lists; ``folder`` takes the set's large parts.

    Raises:
        InputError: A list cannot be read, or a row of it holds no number: whoever stands there
            would get messages.
    """
    numbers = NumberSet(folder)
    for file in find_files(lists):
        opened = OpenList(file, Wanted(region=region))
        try:
            rows = invalid = 0
            for task in opened.tasks():
                block = task()
                parsed = parse_column(block.phone, region).numbers
                valid = parsed[parsed != 0]
                rows += block.records
                invalid += block.records - len(valid)
                numbers.add(valid)
        finally:
            opened.close()
        if invalid:
            raise InputError(
                file.name,
                f"{invalid:,} of {rows:,} rows of the do-not-send list hold no phone number",
                hint="Mend or remove them: whoever is meant would get messages; name the column "
                "'phone' if the first row is a header",
            )
    return numbers
