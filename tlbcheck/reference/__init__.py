"""The reference interpreter: the procedures' own syntax, executed literally by docs/semantics.md.

It shares no evaluator with the front end, lowering, the engines and replay, and reduces nothing, so that
they can be held against it. ``rules`` reads the data of rules, ``syntax`` a function's source, ``machine`` takes one
step, ``search`` takes them all, breadth first.
"""
