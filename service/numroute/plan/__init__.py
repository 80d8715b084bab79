"""The capacity planner: measure a machine once, then read from the table what a load needs.

``measure`` fills the table, with the load generator in ``load``; ``table`` keeps it in a file;
``interpolate`` answers from it and refuses to go beyond it.
"""
