"""The client, against the real server and against one that misbehaves."""
