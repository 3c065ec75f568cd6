"""The page of all settings: ``python -m rlnas.config.docs > docs/config.md``."""

from rlnas.config.flags import Flag, config_flags

_HEAD = """\
# Settings

All that can be set, as `rlnas search` takes it: the field as it is written in a YAML file
(`--config FILE`; a dot stands for a deeper level), its flag, its default and its meaning.
`rlnas search --print-config` writes such a file. A flag goes before the file. "chosen" marks
defaults that come from no paper and no measurement.

This page is made by `python -m rlnas.config.docs`.

| field | flag | default | meaning |
|---|---|---|---|
"""


def config_page() -> str:
    """Return the page of all settings as Markdown."""
    return _HEAD + "".join(_row(flag) for flag in config_flags())


def _row(flag: Flag) -> str:
    shown = f"`{flag.flag}`" if flag.flag else ""
    default = "" if flag.default in (None, {}) else f"`{flag.default}`"
    return f"| `{flag.field}` | {shown} | {default} | {flag.text.replace('|', '&#124;')} |\n"


if __name__ == "__main__":
    print(config_page(), end="")
