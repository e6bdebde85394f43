"""What must hold: one monitor a file, worded as in the reference page properties.md."""
