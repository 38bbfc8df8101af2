"""The page of a cluster: how it is read, what may be on it, and what of it cannot work.

The way through the modules: ``read`` (YAML with the line of every key) → ``form`` (how a key is declared, how a fault
is told) → ``model`` (the settings) → ``examine`` (a page held against the model) → ``checks`` (settings held against
each other and against this computer) → ``validation`` (what a run really uses). ``read`` and ``form`` serve the pages
of releases too.

``checks`` lists the rules. They stand in the files ``*_rules``, by subject. ``machines`` and ``addresses`` say which
machines and addresses the settings mean.
"""
