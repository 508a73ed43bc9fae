"""Imports go down only: this walks every module's syntax tree and holds the table."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "python" / "vitreous"

# layer -> layers of ours that it may import. All may import errors; top is the package's own __init__ and __main__.
# _io holds decoders of text, on the host alone; the devices' modules come in through a backend only.
ALLOWED = {
    "top": {"cli", "backend", "_io"},  # _io knows the version
    "cli": {"programs", "comm", "backend", "top"},
    "programs": {"job", "engine", "io", "model", "report", "top"},
    "report": {"model", "engine"},
    "job": {"engine", "model", "io"},
    "engine": {"model", "kernels"},
    "io": {"model", "_io"},
    "model": set(),
    "kernels": set(),
    "comm": set(),
    "backend": set(),
    "errors": set(),
}
# Packages that one layer alone may use: what it is the only one to know.
ONLY_IN = {"mpi4py": {"comm"}, "mrcfile": {"io"}, "matplotlib": {"report"}, "pydantic": {"programs"}, "rich": {"job"}, "gemmi": {"io"}}
# No file, clock, rank or print where arrays go in and out.
PURE_LAYERS = {"engine", "model", "kernels"}
IMPURE_CALLS = {"open", "print", "input"}
IMPURE_MODULES = {"time", "datetime", "io", "pathlib", "os", "shutil", "tempfile", "logging", "subprocess", "socket"}


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] in ("__init__", "__main__"):
        return "top"
    return family(parts[0])


def family(name: str) -> str:
    """kernels_image is of the layer kernels, comm_mpi of comm."""
    first = name.split("_")[0]
    return first if first in ("kernels", "comm") else name


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.Module, path: Path) -> set[str]:
    """Dotted names of what a module imports, anywhere in it, ours and others'."""
    package = ("vitreous", *path.relative_to(PACKAGE).parts[:-1])
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [base])))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def layers_used(names: set[str]) -> set[str]:
    """Layers of ours among dotted names; vitreous.__version__ and the like are the top."""
    used = set()
    for name in names:
        first, *rest = name.split(".")
        if first == "vitreous":
            layer = rest[0] if rest else "top"
            layer = family(layer)
            used.add(layer if layer in ALLOWED or layer.startswith(("_io", "_cpu", "_cuda")) else "top")
    return used


def faults(source: str, path: Path) -> list[str]:
    """What a module's text does against the table."""
    tree = ast.parse(source)
    layer = layer_of(path)
    names = imported(tree, path)
    allowed = ALLOWED[layer] | {layer, "errors"}
    found = [f"{layer} imports {other}" for other in sorted(layers_used(names) - allowed)]
    for name in sorted({name.split(".")[0] for name in names}):
        if name in ONLY_IN and layer not in ONLY_IN[name]:
            found.append(f"{layer} imports {name}")
        if name in IMPURE_MODULES and layer in PURE_LAYERS:
            found.append(f"{layer} imports {name}")
    for node in ast.walk(tree) if layer in PURE_LAYERS else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{layer} calls {node.func.id}() in line {node.lineno}")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layers_imports_go_down(path):
    assert layer_of(path) in ALLOWED, f"{path}: a layer that the table does not know"
    assert faults(path.read_text(), path) == []


@pytest.mark.parametrize(
    ("place", "source", "fault"),
    [
        ("engine/em.py", "from vitreous.io.star import read_star", "engine imports io"),
        ("engine/em.py", "import vitreous.job.log", "engine imports job"),
        ("engine/em.py", "def f():\n    from ..programs import options", "engine imports programs"),
        ("engine/em.py", "print('x')", "engine calls print() in line 1"),
        ("engine/em.py", "from time import monotonic", "engine imports time"),
        ("io/star.py", "from vitreous import _cpu", "io imports _cpu"),
        ("model/views.py", "from mpi4py import MPI", "model imports mpi4py"),
        ("job/job.py", "from vitreous import cli", "job imports cli"),
        ("kernels.py", "from vitreous.backend import cpu", "kernels imports backend"),
    ],
)
def test_layers_a_fault_is_found(place, source, fault):
    assert faults(source, PACKAGE / place) == [fault]
