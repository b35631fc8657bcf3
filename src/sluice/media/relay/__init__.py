"""Relay in: a source is played into a room as a virtual user."""
