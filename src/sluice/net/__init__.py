"""Outgoing connections: each goes to an address that was checked (design 5, address guard)."""
