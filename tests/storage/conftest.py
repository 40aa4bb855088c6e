"""The contract's asserts show what they compared, as a test's own do."""

import pytest

pytest.register_assert_rewrite("penstock.testing.store_contract")
