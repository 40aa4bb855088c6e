"""What these tests draw by chance, they can draw again."""

import os
import secrets

import pytest

pytest.register_assert_rewrite(f"{__package__}.checks")  # so that its asserts, too, show their values

VARIABLE = "PENSTOCK_TEST_SEED"


@pytest.fixture
def seed() -> int:
    """Of everything random in a test. Another one each time; printed, so that a failure can be repeated."""
    drawn = int(os.environ.get(VARIABLE) or secrets.randbelow(1_000_000))
    print(f"To repeat this: {VARIABLE}={drawn}")
    return drawn
