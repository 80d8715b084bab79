"""What ``numroute info`` says of the feed that keeps a store up to date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from numroute.cli.console import plain, print_facts, time_text

if TYPE_CHECKING:
    from numroute.feed import FeedState, Reconciled, Trouble


def feed_document(state: FeedState | None) -> dict[str, Any] | None:
    """Return the state for ``--json``: its fields, and whether somebody needs to look."""
    return None if state is None else {**plain(state), "healthy": state.healthy}


def print_feed(state: FeedState | None) -> None:
    """Print how the feed does, what it waits for and what is wrong; nothing where there is none."""
    if state is None:
        return
    due = (
        ("next full dump", state.dump_expected_at),
        ("next increments", state.window_expected_at),
    )
    print_facts(
        [
            ("feed", state.source),
            ("last looked", _when(state.polled_at)),
            ("last success", _when(state.succeeded_at)),
            ("last published", _when(state.published_at)),
            *((name, _due(time)) for name, time in due if time),
            *_reconciled(state.reconciled),
            *_trouble("error", state.error),
            *_trouble("gap", state.gap),
            *(
                ("waits", f"{each.name}: {each.reason} (since {_when(each.since)})")
                for each in state.waiting
            ),
            *(
                ("unusable", f"{each.name}: {each.reason} ({each.tries} tries, {_when(each.at)})")
                for each in state.quarantined
            ),
            *(
                ("refused", f"{', '.join(each.names)}: {each.message} ({_when(each.at)})")
                for each in state.refused
            ),
        ]
    )


def _reconciled(last: Reconciled | None) -> list[tuple[str, str]]:
    """Say how the last full dump compares; nothing where there was nothing to compare with."""
    if last is None or (last.published and last.outcome == "not checked"):
        return []
    kept = "" if last.published else "; it came late and is not published"
    text = f"{last.dump}: {last.outcome}: {last.message}{kept} ({_when(last.at)})"
    return [("last full dump", text)]


def _trouble(name: str, trouble: Trouble | None) -> list[tuple[str, str]]:
    if trouble is None:
        return []
    text = f"{trouble.message}. {trouble.hint}" if trouble.hint else trouble.message
    return [(name, f"{text} (since {_when(trouble.since)}, {trouble.count} times)")]


def _when(time: datetime | None) -> str:
    return "never" if time is None else time_text(time)


def _due(time: datetime) -> str:
    late = " (due)" if time < datetime.now(UTC) else ""
    return f"{time_text(time)}{late}"
