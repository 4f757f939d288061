"""A folder imports only what is below it; commands, on top, import anything; data and benchmarks know no model."""

import ast
import pathlib

import irg_jax

BELOW_TO_ABOVE = [
    *("core", "sharding", "models", "data", "worlds", "endpoints", "benchmarks", "checkpoints"),
    *("sampling", "training", "perf", "planning", "reporting", "curation", "experiment", "evaluation"),
]
FORBIDDEN = {("data", "models"), ("benchmarks", "models"), ("benchmarks", "sharding")}
PACKAGE = pathlib.Path(irg_jax.__file__).parent


def test_a_folder_imports_only_what_is_below_it():
    rank, wrong = {name: i for i, name in enumerate(BELOW_TO_ABOVE)}, []
    for path in sorted(PACKAGE.rglob("*.py")):
        folder = path.relative_to(PACKAGE).parts[0]
        imports = [n.module for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom)]
        for name in (module.split(".")[1] for module in imports if module and module.startswith("irg_jax.")):
            unknown, forbidden = name not in rank, (folder, name) in FORBIDDEN
            if unknown or (folder in rank and (rank[name] > rank[folder] or forbidden)):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_the_benchmarks_run_without_jax():
    for path in sorted((PACKAGE / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"jax", "flax"} & {name.split(".")[0] for name in names}, path
