"""Capacity planning: measure one machine, then say how many of them a load needs.

``calibration`` is the file of measured costs; ``measuring`` makes one with the help of ``sample``,
``machine``, ``service`` and ``load``. ``costs``, ``queueing`` and ``sizing`` turn costs into
predictions, ``model`` answers a question put as ``requirements``, ``checking`` holds predictions
against measurements, ``report`` words all of it.
"""
