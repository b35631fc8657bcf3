"""Tasks of this node: accepted durably, placed in media processes, followed to their end."""
