"""A release: one page in, objects of Kubernetes, of the mesh and of monitoring out.

``spec.load`` reads the page, ``planner.plan`` says what it comes to; neither asks a cluster. ``look`` reads a cluster,
``judge`` and ``transition`` say what has to change and in which order, ``stage`` does it.
"""
