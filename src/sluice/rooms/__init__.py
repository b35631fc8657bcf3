"""Rooms: who is in them, what they publish, and the WebRTC peers that watch it."""
