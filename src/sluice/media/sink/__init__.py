"""Where sessions send their frames: one file per kind of destination."""
