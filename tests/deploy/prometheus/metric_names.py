"""The metrics that batond has, from deploy/METRICS.md (which a unit test holds to the table in
engine/base), and those that a PromQL text names."""

import re

SUFFIXES = ("_bucket", "_sum", "_count")


def table(root):
    """{name: {"kind": ..., "labels": {...}, "needs": ...}}"""
    rows = {}
    with open(root + "/deploy/METRICS.md", encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if len(cells) == 7 and cells[0].startswith("`"):
                rows[cells[0].strip("`")] = {
                    "kind": cells[1],
                    "labels": set(filter(None, cells[3].split(", "))),
                    "needs": cells[5],
                }
    return rows


def resolve(rows, series):
    """The row that a series belongs to, or None: x_bucket is a histogram's x."""
    if series in rows:
        return series if rows[series]["kind"] != "histogram" else None
    for suffix in SUFFIXES:
        base = series.removesuffix(suffix)
        if base != series and base in rows and rows[base]["kind"] == "histogram":
            return base
    return None


def series_of(text):
    """[(name, {label})] of every series that an expression names, with the labels it asks for."""
    found = []
    for match in re.finditer(r"(?<![:\w])((?:baton|process)_[a-z0-9_]+)(?![\w:])(?:\{([^}]*)\})?",
                             text):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match.group(2) or ""))
        found.append((match.group(1), labels))
    return found


def recorded_of(text):
    """Names with colons: what recording rules make."""
    return set(re.findall(r"\b[a-z_]+:[a-z_0-9]+:[a-z_0-9]+\b", text))
