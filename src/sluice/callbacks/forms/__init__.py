"""The forms of callbacks, one file each; a new one is a sibling and its line in the composition root."""
