"""The commands of campaign lists: ``numroute route`` and ``numroute rejoin``."""
