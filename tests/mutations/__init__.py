"""Deliberate defects, one per role, that the role's scenario has to notice."""
