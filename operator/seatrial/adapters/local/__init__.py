"""The laptop: trials are processes, records are files."""
