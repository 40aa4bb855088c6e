"""The pure floor's tests."""
