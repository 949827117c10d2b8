"""How many examples a test tries when its number is not the profile's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

CORE_SEEDS = 2
"""How many seeds of a test the core suite has."""


def examples(count: int) -> settings:
    """Settings for ``count`` examples by default; under another profile as many more or fewer as it tries of others."""
    usual = settings.get_profile("default").max_examples
    return settings(max_examples=max(1, count * settings.default.max_examples // usual))


def seeds(numbers: range) -> list[Any]:
    """Values for ``parametrize``: histories of their own; all but the first are ``heavy``."""
    rest = [pytest.param(seed, marks=pytest.mark.heavy) for seed in numbers[CORE_SEEDS:]]
    return [*numbers[:CORE_SEEDS], *rest]
