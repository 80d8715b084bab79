"""The gRPC service: a supervisor and its worker processes."""
