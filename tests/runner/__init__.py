"""Runs the phases of ``make test`` and ``make test-long`` and says what became of them."""
