"""What the package's source must keep to, read from its syntax trees: the direction of imports, and no unsafe calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator

PACKAGE = "seggen_d2"
GROUND = ("foundation", "segmentation", "sources", "bank")
WINGS = (  # each room from the lowest up; a room may import what stands below it in its own wing, and the ground
    ("captions", "generators", "synthesis"),
    ("mapping", "mixing", "modeling", "evaluation", "scoring", "engine", "advising", "plugin"),
    ("recipes",),
)
ONLY_ROOM = {"diffusers": "generators", "detectron2": "plugin"}

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# The one exception: it reads Detectron2's .pkl weights with an unpickler that refuses every name but those that build
# arrays and tensors (tests/test_modeling_pickled.py); everything else is forbidden to it, too.
PICKLE_READER = (f"{PACKAGE}.modeling.pickled", "pickle")
UNSAFE_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
                "pickle.load", "pickle.loads"}
UNSAFE_NAMES = {("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("torch", "load")}


def allowed_rooms(room: str) -> set[str]:
    """The rooms that ``room`` may import, itself included.

    Raises:
        KeyError: the table has no such room.
    """
    if room in GROUND:
        return set(GROUND[: GROUND.index(room) + 1])
    for wing in WINGS:
        if room in wing:
            return {*GROUND, *wing[: wing.index(room) + 1]}
    raise KeyError(f"room {room} stands in no wing: add it to the table")


def imported(source: str, module: str) -> Iterator[tuple[int, str]]:
    """``(line, dotted name)`` of everything that a module imports, wherever in it; relative names are made whole.

    Args:
        source: its text.
        module: its dotted name; a package's ends in ``.__init__``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parts, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] in ("import_module", "__import__"):
            name = node.args[0] if node.args else None
            yield node.lineno, name.value if isinstance(name, ast.Constant) else "a name made at run time"


def import_faults(source: str, module: str) -> list[str]:
    """Imports of ``module`` that run against the direction."""
    room = module.split(".")[1]
    is_root = room == "__init__"
    allowed = set() if is_root else allowed_rooms(room)
    return [f"{module}:{line} imports {name}" for line, name in imported(source, module) if _is_fault(name, room, allowed)]


def _is_fault(name: str, room: str, allowed: set[str]) -> bool:
    first, *rest = name.split(".")
    if first == PACKAGE:
        return bool(rest) and not rest[0].startswith("__") and rest[0] not in allowed
    return " " in name or ONLY_ROOM.get(first, room) != room


def unsafe_faults(source: str, module: str) -> list[str]:
    """Lines that could run what a file holds: pickle, eval, YAML's unsafe loaders, ``torch.load`` of anything."""
    faults = [f"{module}:{line} imports {name}" for line, name in imported(source, module)
              if name.split(".")[0] in UNSAFE_MODULES - {PICKLE_READER[1] if module == PICKLE_READER[0] else ""}
              or tuple(name.split(".")) in UNSAFE_NAMES]
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return faults + [f"{module}:{node.lineno} calls {_dotted(node.func)}" for node in calls if _is_unsafe(node)]


def _is_unsafe(call: ast.Call) -> bool:
    name, given = _dotted(call.func), {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    if name == "torch.load":
        return given.get("weights_only") is not True
    return name in UNSAFE_CALLS or given.get("allow_pickle", False) is not False or given.get("shell", False) is not False


def _dotted(node: ast.expr) -> str:
    """``yaml.load`` of ``yaml.load``; what is not a plain name becomes ``?``."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"
