"""What the code of a cell does that a lab may not do: fetch things, or draw without words and numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_SHELL_FETCH = re.compile(
    r"^\s*[!%]+\s*(sudo\s+)?"
    r"(pip3?|python3?\s+-m\s+pip|conda|mamba|uv|apt(-get)?|brew|npm|wget|curl|git\s+clone)\b",
    re.MULTILINE,
)
_FETCHERS = {
    "urlretrieve", "from_pretrained", "load_dataset", "hf_hub_download", "snapshot_download",
}  # fmt: skip
_URL_READERS = {
    "urlopen", "get", "post", "request", "stream", "read_csv", "read_parquet", "read_json",
}  # fmt: skip
_REMOTE = re.compile(r"(https?|ftp|s3|gs)://(?!127\.0\.0\.1|localhost|\[::1\])", re.IGNORECASE)
_FIGURE_MODULES = {"go", "px", "plt", "ff"}


def fetched(text: str, tree: ast.Module) -> str:
    """Return the first piece of a cell that installs or downloads; empty if none does."""
    if found := _SHELL_FETCH.search(text):
        return found.group(0).strip()
    for call in calls(tree):
        strings = [string for part in ast.walk(call) if (string := text_of(part))]
        words = {word for string in strings for word in string.split()}
        reads_url = name_of(call) in _URL_READERS and any(_REMOTE.match(string) for string in strings)
        downloads = any(key.arg == "download" and _is_true(key.value) for key in call.keywords)
        is_hub = ast.unparse(call.func).startswith("torch.hub.")
        installs = {"pip", "install"} <= words and name_of(call) not in {"print", "Markdown", "HTML"}
        if name_of(call) in _FETCHERS or is_hub or downloads or installs or reads_url:
            return ast.unparse(call)[:80]
    return ""


def undescribed_figures(tree: ast.Module) -> str:
    """Return what is wrong with a plot of this cell: it comes with alt text and data table, for all who read.

    A function may draw and return a figure; then the cell that hands it on describes it.
    """
    every = list(calls(tree))
    described = [call for call in every if {"alt", "table"} <= _given(call)]
    for call in every:
        if "figure" in _given(call) and call not in described:
            missing = [
                what
                for key, what in (("alt", "alt text"), ("table", "data table"))
                if key not in _given(call)
            ]
            return f"a plot without {' and '.join(missing)}"
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    returned = {id(part) for function in functions for part in ast.walk(function)}
    for call in every:
        draws = ast.unparse(call.func).split(".")[0] in _FIGURE_MODULES or name_of(call) == "make_subplots"
        if draws and not described and id(call) not in returned:
            return f"a plot without alt text and data table: {ast.unparse(call)[:60]}"
    return ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call in a tree."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    """Return the last part of the called name: ``predict`` of ``lab.predict(...)``."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def text_of(node: ast.AST) -> str:
    """Return the string that a node is; empty if it is none."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _given(call: ast.Call) -> set[str]:
    """Return the keywords of a call that hold something: an empty text or None counts as not given."""
    empty = [
        key for key in call.keywords if isinstance(key.value, ast.Constant) and key.value.value in ("", None)
    ]
    return {key.arg for key in call.keywords if key.arg and key not in empty}


def _is_true(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
