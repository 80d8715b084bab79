"""Carrying snapshots to other machines over storage that exists: a path or any fsspec URL."""
