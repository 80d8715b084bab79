"""BDPN, the Russian database of ported numbers: how its files are delivered.

Source of every fact: ``registries.md``, section 1.
"""

from __future__ import annotations

import re
from datetime import timedelta

from numroute_loader.feeds.order import FeedLayout, Role
from numroute_loader.registries.ru_bdpn import MOSCOW, REGISTRY

FEED = FeedLayout(
    registry=REGISTRY,
    root="/numlex",
    folders=(
        "Port_All_Full",
        "Port_All",
        "Operators",
        "Numbering_Plan",
        "Port_Increment",
        "Return_Increment",
    ),
    file_name=re.compile(
        r"(?P<type>[A-Za-z]+(?:_[A-Za-z]+)*)_(?P<time>[0-9]{12})_(?P<sequence>[0-9]{1,9})"
        r"\.(?:zip|csv)",
        re.IGNORECASE | re.ASCII,
    ),
    types={
        "port_all_full": (Role.DUMP, f"{REGISTRY}/port-all-full"),
        "port_all": (Role.DUMP, f"{REGISTRY}/port-all"),
        "operators": (Role.COMPANION, f"{REGISTRY}/operators"),
        "numbering_plan": (Role.COMPANION, f"{REGISTRY}/numbering-plan"),
        "port_increment": (Role.WINDOW, f"{REGISTRY}/port-increment"),
        "return_increment": (Role.WINDOW, f"{REGISTRY}/return-increment"),
    },
    dumps=("port_all_full", "port_all"),
    utc_offset=MOSCOW,
    dump_every=timedelta(days=1),
    window_every=timedelta(hours=2),
)
"""The simplified tier is left out: its increments cannot be told from its full dumps by content."""
