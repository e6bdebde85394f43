"""Models that come with tlbcheck: one family a folder."""
