"""Which texts are names of columns: only those are printed, and only those make a header sure.

What stands in a first row may be a person's: a name is told from data by words that lists call
their columns by, not by what it is not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME_CHARS_MAX: Final = 40
"""A column's name is not longer."""

_DIGITS_MAX: Final = 2
"""So many digits a column's name may hold, as in ``phone2``."""

_PHONE_WORDS: Final = frozenset(
    {
        *("phone", "phones", "telephone", "tel", "mobile", "msisdn", "cell", "cellphone"),
        *("phonenumber", "mobilephone", "destination"),
        *("телефон", "телефоны", "телефона", "тел", "моб", "мобильный", "сотовый"),
    }
)
"""A column is named for phone numbers when one of these is a word of its name."""

_WHOLE_NAMES: Final = frozenset({"number", "numbers", "номер", "номера", "абонент", "to"})
"""Names that mean phone numbers only where they stand alone."""

_WORDS: Final = _PHONE_WORDS | frozenset(
    {
        *("id", "name", "names", "first", "last", "full", "surname", "client", "customer", "user"),
        *("person", "contact", "contacts", "email", "e", "mail", "city", "town", "region"),
        *("country", "address", "date", "birth", "birthday", "age", "gender", "amount", "sum"),
        *("price", "comment", "comments", "note", "notes", "text", "message", "status", "state"),
        *("type", "segment", "segments", "parts", "tariff", "account", "contract", "number"),
        *("numbers", "group", "tag", "source", "operator", "pseudonym", "work", "home"),
        *("имя", "фамилия", "отчество", "фио", "клиент", "клиента", "абонент", "абонента"),
        *("почта", "город", "регион", "область", "страна", "адрес", "дата", "рождения"),
        *("возраст", "пол", "сумма", "цена", "комментарий", "примечание", "текст", "сообщение"),
        *("статус", "тип", "сегмент", "сегменты", "тариф", "счет", "счёт", "договор", "договора"),
        *("группа", "номер", "номера", "код", "карта", "карты", "оператор"),
        *("контакт", "контакты", "контактный", "рабочий", "домашний"),
    }
)
"""Words that a column's known name consists of."""

_SPLIT: Final = re.compile(r"[\W_]+|(?<=[a-zа-я])(?=[A-ZА-Я])")
_IDENTIFIER: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_PLAIN: Final = re.compile(r"[^\W\d][\w \-/]*")
_BY_PLACE: Final = re.compile(r"column [0-9]+")
_DIGITS: Final = re.compile(r"\d(?:[\s().-]*\d){2,}")


def is_phone_name(name: str) -> bool:
    """Whether a column's name says that it holds phone numbers."""
    words = _words(name)
    return name.strip().casefold() in _WHOLE_NAMES or not _PHONE_WORDS.isdisjoint(words)


def is_known_name(text: str) -> bool:
    """Whether a text is what lists call their columns, and hardly a person's data."""
    if len(text) > NAME_CHARS_MAX or sum(map(str.isdigit, text)) > _DIGITS_MAX:
        return False
    words = [word.rstrip("0123456789") for word in _words(text)]
    words = [word for word in words if word]
    return bool(words) and (
        all(word in _WORDS or word in _WHOLE_NAMES for word in words)
        or _IDENTIFIER.fullmatch(text.strip()) is not None
    )


def by_place(place: int) -> str:
    """Return what a column without a name is called; places count from 0."""
    return f"column {place + 1}"


def is_by_place(name: str) -> bool:
    """Whether a column has no name of its own."""
    return _BY_PLACE.fullmatch(name) is not None


def printable_name(name: str, place: int) -> str:
    """Return a column's name where it can be nothing else, its place where it may be data.

    The first row of a list that was said to have a header may be a person's.
    """
    may_be_data = (
        len(name) > NAME_CHARS_MAX
        or sum(map(str.isdigit, name)) > _DIGITS_MAX
        or _PLAIN.fullmatch(name) is None
    )
    return by_place(place) if may_be_data else name


def printable_names(columns: Sequence[str]) -> list[str]:
    """Return ``printable_name`` of every column."""
    return [printable_name(name, place) for place, name in enumerate(columns)]


def shown_name(name: str) -> str:
    """Return a name that the user gave, or one by place, quoted for a message."""
    return repr(_DIGITS.sub(lambda run: "*" * len(run[0]), name))


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _SPLIT.split(name) if word]
