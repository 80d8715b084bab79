"""What applying a window of increments costs, beside a full build of the same data."""
