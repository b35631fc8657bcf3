"""The HTTP surface: one file or folder per dialect or resource. Vendor names stop here."""
