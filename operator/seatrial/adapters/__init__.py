"""The outside world behind the ports: a laptop, a cluster, and where metrics come from."""
