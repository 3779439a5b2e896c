"""Python runs this at its start in every process that a test starts: see conftest.py."""

import no_network  # noqa: F401 - importing it is what switches the guard on
