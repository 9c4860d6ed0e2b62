"""PyTorch agrees with NumPy, and its autograd with our gradients. Run by `make test-torch`."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from lossloop.losses import Loss, get, names
from lossloop.losses.checks import agrees

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("loss", [get(name) for name in names()], ids=str)
def test_torch_agrees_with_numpy(loss: Loss) -> None:
    agrees(loss, import_module("array_api_compat.torch"))


@pytest.mark.parametrize("name", ["log_loss", "brier", "squared", "huber", "mase", "poisson_deviance"])
def test_autograd_finds_the_same_gradient(name: str) -> None:
    torch, loss = import_module("torch"), get(name)
    labels = torch.asarray([0, 1, 1, 0])
    margin = torch.tensor([0.3, -0.2, 1.0, -1.5], dtype=torch.float64, requires_grad=True)
    loss(labels, loss.predict(margin)).sum().backward()
    assert np.allclose(margin.grad.numpy(), loss.gradient(labels, margin.detach()).numpy(), rtol=1e-9)


def test_a_float32_tensor_stays_one() -> None:
    torch = import_module("torch")
    costs = get("log_loss")(torch.asarray([0, 1]), torch.asarray([0.2, 0.7]))
    assert costs.dtype == torch.float32
