"""A small API server, scheduler and kubelet in memory, for tests and rehearsals. It passes the contract suite of the real one."""
