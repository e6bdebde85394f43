"""Results for people and programs: JSON first, everything else is made from it."""
