"""What numroute is measured against, in the same run."""
