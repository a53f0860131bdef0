"""Options from YAML files and ``KEY VALUE`` overrides: typed, unknown keys refused, written beside the result."""

from __future__ import annotations

import ast
import dataclasses
import os
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .errors import SegGenError, nearest
from .files import read_bytes, read_json, write_json

T = TypeVar("T")
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # reads what yaml.safe_load does, several times as fast where libyaml is there


def load_yaml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a mapping of plain YAML; a ``_BASE_`` key names a file, relative to this one, to start from.

    It may name several: each goes on top of those before it.

    Raises:
        SegGenError: the file is missing, empty, not YAML, not a mapping, or its ``_BASE_`` chain is a ring.
    """
    return _load_yaml(Path(path), ())


def _load_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        raise SegGenError(f"config {path} is its own _BASE_", found=" -> ".join(p.name for p in (*seen, resolved)))
    values = read_yaml(path, repeated=True)  # as some of upstream's own configs have keys
    if not isinstance(values, dict):
        raise SegGenError(f"config {path} holds no keys", expected="a mapping KEY: VALUE", found=type(values).__name__)
    bases = values.pop("_BASE_", None) or []
    for base in reversed([bases] if isinstance(bases, str) else bases):
        values = merge(_load_yaml(path.parent / base, (*seen, resolved)), values)
    return values


def read_yaml(path: str | os.PathLike, *, repeated: bool = False) -> Any:
    """What a file of plain YAML holds, be it a mapping, a list or a word; None where it is empty.

    Args:
        repeated: a mapping may name a key twice, and the last counts.

    Raises:
        SegGenError: the file is missing, not YAML, names a key twice, or holds tags that run code.
    """
    try:
        return _plain(read_bytes(path, "config"), path, repeated)
    except yaml.constructor.ConstructorError as error:
        raise SegGenError(f"config {path} holds more than plain YAML", expected="numbers, texts, lists and mappings",
                          found=str(error), remedy="write the value out: tags that run code (!!python/...) are not read") from error
    except yaml.YAMLError as error:
        raise SegGenError(f"config {path} is not YAML", found=str(error), remedy="mend the line named") from error


def _plain(data: bytes, path: str | os.PathLike, repeated: bool) -> Any:
    loader = Loader(data)
    try:
        node = loader.get_single_node()
        if not repeated:
            _check_keys(node, path)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(node: yaml.Node | None, path: str | os.PathLike) -> None:
    """No mapping names a key twice: YAML forbids it, and readers take the last in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise SegGenError(f"{path} names the key {key.value!r} twice", expected="each key once in a mapping",
                                  found=f"again in line {key.start_mark.line + 1}", remedy="leave one of them out")
            seen.add(name)
            _check_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``; mappings are merged key by key, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """``["a.b", "3", "c", "x"]`` to ``{"a": {"b": 3}, "c": "x"}``; values are Python literals, else strings.

    Raises:
        SegGenError: a key has no value.
    """
    if len(words) % 2:
        raise SegGenError(f"override {words[-1]!r} has no value", expected="pairs: KEY VALUE KEY VALUE ...", found=" ".join(words))
    values: dict[str, Any] = {}
    for key, text in zip(words[::2], words[1::2], strict=True):
        nested: Any = literal(text)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = merge(values, nested)
    return values


def literal(text: str) -> Any:
    """The Python literal that ``text`` is, ``true`` and ``false`` in any case, else the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def build(cls: type[T], values: dict[str, Any], where: str) -> T:
    """Make the dataclass ``cls`` from ``values``; nested dataclasses are made from nested mappings.

    Raises:
        SegGenError: a key is unknown (the nearest is named), missing, or of the wrong type.
    """
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise SegGenError(f"unknown key {key!r} in {where}", remedy=nearest(str(key), fields))
    missing = [n for n, f in fields.items() if n not in values
               and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if missing:
        raise SegGenError(f"{where} lacks {', '.join(missing)}", expected=", ".join(fields), found=", ".join(values) or "no keys")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, dict):
        made = next((kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)), None)
        if get_origin(hint) is dict:
            return {key: _convert(get_args(hint)[1], item, f"{where}: {key}") for key, item in value.items()}
        if made:
            return build(made, value, where)
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        inner = get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{place}]") for place, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if not _is_of(hint, value):
        raise SegGenError(f"{where} has the wrong type", expected=str(getattr(hint, "__name__", hint)), found=f"{value!r} ({type(value).__name__})")
    return value


def _is_of(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    kinds = get_args(hint) if get_origin(hint) not in (None, tuple, list, dict) else ()
    if kinds:
        return any(_is_of(kind, value) for kind in kinds)
    base = get_origin(hint) or hint
    if isinstance(value, bool):
        return base is bool
    return value is None if base is type(None) else isinstance(value, base)


def check_same_options(folder: str | os.PathLike, options: dict[str, Any], name: str = "options.json") -> None:
    """Write ``options`` into ``folder``, or make sure that what is there was made with the same.

    Raises:
        SegGenError: the folder was begun with other options; they are listed.
    """
    path = Path(folder) / name
    before = read_json(path, "options") if path.exists() else options
    changed = sorted(key for key in {*before, *options} if before.get(key) != options.get(key))
    if changed:
        raise SegGenError(f"{folder} was begun with other options", expected=", ".join(f"{key}: {before.get(key)}" for key in changed),
                          found=", ".join(f"{key}: {options.get(key)}" for key in changed), remedy="use the same options, or another output folder")
    write_json(path, options)


def save_options(folder: str | os.PathLike, options: Any, name: str = "options.json") -> None:
    """Write the resolved options (a dataclass or mapping) into ``folder``."""
    write_json(Path(folder) / name, dataclasses.asdict(options) if dataclasses.is_dataclass(options) else options)
