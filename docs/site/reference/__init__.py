"""Pages of docs/en/reference that are written from the code: `scripts/docs reference`.

Each module here makes pages as text; `PAGES` of `__main__` has them all. A test compares the files with what
the code says now.
"""
