"""What the packages import is declared in pyproject.toml, and not only there by way of others."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("macro_gym", "sb3_masp")


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {normalised(re.match(r"[\w.-]+", line)[0]) for lines in lists for line in lines}


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_of_others_is_declared(package):
    others = set(imported(package)) - set(sys.stdlib_module_names) - set(PACKAGES)
    assert len(others) > 5
    owners = packages_distributions()
    undeclared = {
        module for module in others if not set(map(normalised, owners[module])) & declared()
    }
    assert not undeclared
