"""Where the curves of running trials come from."""
