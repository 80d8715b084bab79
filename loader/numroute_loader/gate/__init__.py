"""The gate before a snapshot becomes current: it judges facts against limits, check by check."""
