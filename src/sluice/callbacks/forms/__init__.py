"""The forms of callbacks, one file each. A new form is a file here and a line in the composition root."""
