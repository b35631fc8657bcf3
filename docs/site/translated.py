"""`scripts/docs translated PAGE…`: notes which English text these Chinese pages say now."""

import sys
from pathlib import Path

from docs.site.pages import chinese, english_of, renew


def main() -> int:
    known = set(chinese())
    pages = [Path(name).resolve() for name in sys.argv[1:]]
    if not pages:
        print("name the Chinese pages that you have translated, such as docs/zh/start.md", file=sys.stderr)
        return 2
    for page in pages:
        if page not in known or not english_of(page).exists():
            print(f"{page} is no Chinese page of an English one", file=sys.stderr)
            return 2
        renew(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
