"""A synthetic registry in exactly the real file formats, for everybody without a contract.

::

    from numroute_loader.generate import GenerateOptions, generate

    generate(Path("inbox"), GenerateOptions(ported=1_000_000, seed=1))

The shapes (market shares, sizes of ranges, runs of corporate numbers, dates) imitate the real
registry; every ported number and every date is made up.
"""

from numroute_loader.generate.options import GeneratedRegistry, GenerateOptions, Tier
from numroute_loader.generate.registry import generate

__all__ = ["GenerateOptions", "GeneratedRegistry", "Tier", "generate"]
