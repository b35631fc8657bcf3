"""What happens to a track between its source and the room: one file per conversion."""
