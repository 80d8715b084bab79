"""Increments: which windows follow, what they change, and what that makes of a snapshot.

It knows no country.
"""
