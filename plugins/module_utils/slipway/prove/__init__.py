"""A release shown to do what its page says: ``plan`` says what to ask, ``judge`` what the answers come to.

Both are pure; whoever runs them hands the plan's experiments to ``agent.py`` and looks up its reads.
"""

from .circumstances import Circumstances
from .jobs import PROGRAM, job, observed, stages
from .planner import plan
from .verdicts import Report, Verdict, judge

__all__ = ["PROGRAM", "Circumstances", "Report", "Verdict", "job", "judge", "observed", "plan", "stages"]
