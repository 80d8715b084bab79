"""numroute: who serves this phone number now."""
