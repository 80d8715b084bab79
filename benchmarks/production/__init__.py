"""The service as it runs in production: processes, swaps, restarts, overload, a long time."""
