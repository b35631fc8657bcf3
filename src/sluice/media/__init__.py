"""Media processes: sessions that pull sources, convert tracks and hand encoded frames to rooms."""
