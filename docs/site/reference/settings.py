"""Every setting, from `sluice.meanings`."""

from docs.site.reference.markdown import code, page, table, written_from
from sluice.meanings import SECTIONS, Meaning

_INTRODUCTION = """
A setting has one name in three places: `media_port` in `sluice.toml`, `SLUICE_MEDIA_PORT` among the
variables of the environment, and `--media-port` among the flags of `sluice serve`. Flags win over
variables, and variables over the file. The file is `sluice.toml` in the folder where the node is started;
it may be missing.

Lists are arrays in the file. In a variable or a flag they are one text with commas between the items;
`--public-ip` is given once for each address instead. `true` and `false` are words; the flags are `--NAME`
and `--no-NAME`.

A setting that does not exist, or has a bad value, keeps the node from starting. The error names its place.
The node reads settings once, when it starts. `sluice doctor` says which of them would keep people from
seeing and hearing.
"""


def settings() -> str:
    return page(
        "# Settings",
        _INTRODUCTION,
        *(
            f"## {title}\n\n" + table(("Setting", "Value", "Default", "Meaning"), map(_row, section.items()))
            for title, section in SECTIONS.items()
        ),
        written_from("src/sluice/meanings.py"),
    )


def _row(item: tuple[str, Meaning]) -> tuple[str, ...]:
    name, meaning = item
    names = [name]
    if meaning.flag:
        names.append(f"--{name.replace('_', '-')}")
    if meaning.variable:
        names.append(f"SLUICE_{name.upper()}")
    default = meaning.default if meaning.computed else code(meaning.default)
    return "<br>".join(map(code, names)), meaning.form, default, meaning.text
