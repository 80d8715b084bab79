"""numroute_loader: registry files in, published snapshots out."""
