"""The cluster: client, caches, election, store and runner over the API server, and a fake of it in memory."""
