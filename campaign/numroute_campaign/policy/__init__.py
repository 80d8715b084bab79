"""Policy and price files: TOML in, decisions and amounts out."""

from __future__ import annotations

from numroute_campaign.policy.reading import read_policy
from numroute_campaign.policy.rules import Policy, Rule, Window

__all__ = ["Policy", "Rule", "Window", "read_policy"]
