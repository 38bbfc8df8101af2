"""Get every file, image and Debian package that a configuration needs, and make one bundle of them.

Runs on the user's machine. The way through the modules: ``catalog`` (what there is) → ``plan`` (what this run needs,
and which way) → ``jobs`` (one per item) → ``engine`` (do them) → ``bundle`` (link the items together) → ``manifest``
(say what it holds). ``download``, ``golang``, ``image`` and ``apt`` each know one way of making an item.
"""
