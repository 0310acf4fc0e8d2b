"""The same commands against a cluster, as ``kubectl seatrial``: with the user's own rights, reading only, but for one short-lived Pod."""
