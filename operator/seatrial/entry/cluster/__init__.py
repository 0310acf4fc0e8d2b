"""The operator process: Kopf tells of Studies, a queue brings each of them forward, one pass at a time."""
