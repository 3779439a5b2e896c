"""The server's process: `python <this folder>`, or `python -m` with the package's full name.

Started by its folder it loads this folder alone, as a package of its own name, and so starts
in a fraction of the time: with `-m` Python imports the packages around it first, and with them
all of LlamaIndex.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def _load_folder() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    # Python puts a folder that it runs on the path, where its files would shadow other modules.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    spec = importlib.util.spec_from_file_location(
        "simulation", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["simulation"] = package
    spec.loader.exec_module(package)


if not __package__:
    _load_folder()
    from simulation.serve import main
else:
    from .serve import main

if __name__ == "__main__":
    main()
