"""Patches: read out of mails, put onto files, and functions rebuilt from their hunks alone."""
