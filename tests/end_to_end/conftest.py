"""What these tests draw by chance, they can draw again."""

import os
import secrets

import pytest

# So that their asserts, too, show their values.
pytest.register_assert_rewrite(
    *[f"{__package__}.{name}" for name in ("chaos_checks", "checks", "crowd", "readers")]
)

VARIABLE = "PENSTOCK_TEST_SEED"


@pytest.fixture
def seed() -> int:
    """Of everything random in a test. Another one each time; printed, so that a failure can be repeated."""
    drawn = int(os.environ.get(VARIABLE) or secrets.randbelow(1_000_000))
    print(f"To repeat this: {VARIABLE}={drawn}")
    return drawn
