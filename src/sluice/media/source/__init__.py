"""Where sessions take their packets from: one file per kind of source."""
