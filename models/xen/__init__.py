"""Xen's address-space switch on x86, in the versions that were published from 2018 on.

``contexts`` says what can be loaded, ``options`` when it exists, ``callers`` who switches,
``primitives`` the small wrappers; each version's own lines stand in a file of their own.
"""
