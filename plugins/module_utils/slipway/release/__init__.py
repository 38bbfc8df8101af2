"""A release: one page in, objects of Kubernetes, of the mesh and of monitoring out.

``load(path, overrides)`` reads the page, ``plan(spec, environment)`` says what it comes to; neither asks a cluster.
"""

from .environment import Environment
from .objects import identity
from .planner import Plan, Step, plan
from .spec import Spec, load

__all__ = ["Environment", "Plan", "Spec", "Step", "identity", "load", "plan"]
