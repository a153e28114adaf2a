"""k-means on rows in memory: seeding by distance, assignment and sums, both skipping what is sure.

Rows are looked at one by one only to tell whether anything can have changed for them, which takes
a number or two a row; those for which it may have are gathered into chunks, whose distances are
found in vector registers. Blocks of rows keep sums of their own: whoever computes a block, its sums
are the same.

From the bottom: ``bits`` (sets of rows), ``distances``, ``nearest`` (of some centres), ``bounds``
(which rows may have changed), ``chunks`` (rows on their way to columns); on these ``assignment``, a
pass of Lloyd's iteration. ``sketch`` (the rows in float32) and ``gains`` (what a seed would save)
serve ``seeding``, greedy k-means++.
"""
