"""The browser's client and the console, in a real Chromium, before real servers, through real faults."""

import pytest

# So that its asserts, too, show their values.
pytest.register_assert_rewrite(f"{__name__}.proof")
