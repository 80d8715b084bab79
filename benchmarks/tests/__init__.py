"""Each area runs once, very small; each finds a wrong answer."""
