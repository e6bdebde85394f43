"""Three protocols of Linux's, on three machines: what the language can say that is not Xen.

Each stands on one page: the faulty version is a variant of the one that was repaired.
"""
