"""The suite for capacity planning: yardsticks, sweeps, latency under load and memory in one run."""
