"""The second opinion: runs procedures as they are written, on a literal TLB.

Nothing here knows the transition system, how it is made, or any engine.
"""
