"""The package's rooms: who may import whom, and how large a module is."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sftrl_lite"
# From the ground up; a room imports from lower floors, and from itself. "" are the modules that
# lie in no room: scales, seeds, files, pictures, processes.
FLOORS = (
    {""},
    {"tasks", "models", "results"},
    {"training"},
    {"planning"},
    {"runs"},
    {"course", "bench"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LONGEST = 350  # lines of a module
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
INSIDE = [path for path in MODULES if path.name != "__main__.py"]  # the command line sees all


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it, without ``sftrl_lite.``"""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    known = {".".join(p.with_suffix("").parts) for p in MODULES}
    names = {name.removeprefix("sftrl_lite.") for name in found if name.startswith("sftrl_lite.")}
    return names & known


def room_of(module: str) -> str:
    return module.rpartition(".")[0]


@pytest.mark.parametrize("path", INSIDE, ids=str)
def test_a_room_imports_from_lower_floors_and_itself(path):
    own = "/".join(path.parts[:-1])
    for module in imported(path):
        other = room_of(module)
        assert other == own or FLOOR[other] < FLOOR[own], f"{path} imports {module}"


def test_no_modules_import_each_other_in_a_circle():
    needs = {".".join(p.with_suffix("").parts): imported(p) for p in INSIDE}
    while needs:
        free = {name for name, others in needs.items() if not others & needs.keys()}
        assert free, f"circles among {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_long(path):
    assert len((PACKAGE / path).read_text("utf-8").splitlines()) <= LONGEST


def test_each_room_says_what_lives_there_and_what_it_may_import():
    for room in FLOOR.keys() - {""}:
        text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
        assert 2 <= len(text.splitlines()) <= 4 and "May import: " in text
    assert {path.parts[0] for path in MODULES if len(path.parts) == 2} == FLOOR.keys() - {""}


def test_the_mathematics_of_tasks_needs_no_torch():
    for path in (PACKAGE / "tasks").glob("*.py"):
        text = path.read_text("utf-8")
        assert "import torch" not in text and "from torch" not in text, path
