"""Processes of one node: supervision, the control channel and the frame link between media and rooms."""
