"""What the tests of a lab share: one thread, and the names of the solved notebook of the module's `LAB`."""

from __future__ import annotations

import sys
import types

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The labs' own setting, given back afterwards."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def names(request):
    """The names that the solution notebook of the module's lab defines."""
    return request.module.LAB.definitions()


@pytest.fixture
def given(names):
    """The same names for attribute access."""
    return types.SimpleNamespace(**names)
