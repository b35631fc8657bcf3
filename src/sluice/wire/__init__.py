"""Formats and protocols as pure functions and sans-IO machines: bytes in, bytes and events out."""
