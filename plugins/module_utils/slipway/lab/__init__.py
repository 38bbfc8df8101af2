"""The machines that a cluster stands on: planned, made, listed, and taken away.

``plan`` says which machines a page means, for the Vagrantfile and the inventory. ``provider`` holds the verbs that
stand around Vagrant: ``obstacles`` are looked for before machines are made, a ``container`` is made a machine,
``sizes`` follow the page, ``removal`` takes away what is left. ``docker``, ``vagrant`` and ``computer`` are asked by
all of them.
"""
