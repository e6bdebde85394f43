"""Certificates: files that say why a property holds, for anybody's solver to check."""
