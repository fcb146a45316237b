#!/usr/bin/env python3
"""Runs the notebooks of examples/notebooks; needs nbclient and the package. Nothing is written."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"

for path in sorted(FOLDER.glob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    if any(cell.get("outputs") for cell in notebook.cells):
        sys.exit(f"{path.name}: notebooks are kept without outputs")
    try:
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute()
    except CellExecutionError as error:
        sys.exit(f"{path.name}: {error}")
    print(f"{path.name} runs")
