"""A release shown to do what its page says: ``plan`` says what to ask, ``judge`` what the answers come to.

Both are pure; whoever runs them hands the plan's experiments to ``agent.py`` and looks up its reads.
"""

from .planner import Surroundings, plan
from .verdicts import Report, Verdict, judge

__all__ = ["Report", "Surroundings", "Verdict", "judge", "plan"]
