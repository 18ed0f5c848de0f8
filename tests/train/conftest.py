import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two threads that share busy cores wait for each other: tiny networks train ten times slower."""
    torch.set_num_threads(1)
