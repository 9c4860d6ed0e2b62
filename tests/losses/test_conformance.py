"""Every registered loss is found by itself and runs the checks that any loss must pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossloop.losses import LIBRARY, Loss, get, names, parse
from lossloop.losses.checks import CHECKS, agrees

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call] # JAX leaves it so

COMPOSED = tuple(
    map(
        parse,
        (
            "0.7*log_loss(cap=5) + 0.3*brier",
            "2*(log_loss + brier)",
            "squared.clip(4)",
            "squared.clip(4, low=0.5)",
            "0.5*huber(delta=2) + absolute",
            "(3*log_loss_multiclass(cap=4)).clip(5)",
            "warning_cost(missed=20, false_alarm=10)",
            "cost_matrix(costs=((0, 1, 2), (5, 0, 1), (9, 3, 0)))",
            "constraint_violation(low=-1, high=1)",
            "pinball(level=0.9)",
            "pinball_mean(levels=(0.05, 0.95))",
        ),
    )
)
LOSSES = [*map(get, names()), *COMPOSED]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_conformance(loss: Loss, check: Callable[[Loss], None]) -> None:
    check(loss)


@pytest.mark.parametrize("library", [array_api_strict, jnp], ids=["array-api-strict", "jax"])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_libraries_agree_with_numpy(loss: Loss, library: Any) -> None:
    agrees(loss, library)


@pytest.mark.parametrize("loss", LIBRARY, ids=str)
def test_the_library_is_documented_bounded_and_known_in_full(loss: Loss) -> None:
    assert loss.golden, "no golden vectors"
    assert loss.identity.unknown == ()
    assert all(word in str(loss.__doc__) for word in ("Shapes:", "Bounds:", "Source:"))


def test_a_jax_loss_can_be_compiled_and_differentiated() -> None:
    labels, margin = jnp.asarray([0, 1, 1]), jnp.asarray([0.3, -0.2, 2.0])
    loss = get("log_loss")

    @jax.jit
    def mean(at: Any) -> Any:
        return jnp.mean(loss(labels, loss.predict(at)))

    assert np.allclose(jax.grad(mean)(margin) * 3, loss.gradient(labels, margin), rtol=1e-9)


def test_float32_stays_float32() -> None:
    pred = np.asarray([0.2, 0.7], dtype=np.float32)
    assert get("log_loss")([0, 1], pred).dtype == np.float32
