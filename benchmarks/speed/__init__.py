"""The figures that the first version promises for speed and size, measured in one run."""
