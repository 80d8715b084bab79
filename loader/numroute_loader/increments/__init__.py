"""Increments: which windows follow, and what they make of a snapshot. It knows no country."""
