"""Policy and price files: TOML in, decisions and amounts out."""

from __future__ import annotations

from numroute.campaign.policy.reading import read_policy
from numroute.campaign.policy.rules import Policy, Rule, Window

__all__ = ["Policy", "Rule", "Window", "read_policy"]
