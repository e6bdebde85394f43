"""Engines: each reads the transition system and knows nothing of any machine."""
