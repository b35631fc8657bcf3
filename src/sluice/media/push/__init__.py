"""Push out: a room user's stream goes to an RTMP server."""
