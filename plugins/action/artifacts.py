"""Action plugin `artifacts`: a thin shell around slipway.artifacts.engine (documented in modules/artifacts.py)."""

from __future__ import annotations

import sys
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from slipway.artifacts.cache import default_root
from slipway.artifacts.engine import run
from slipway.artifacts.forecast import Screen
from slipway.artifacts.plan import BundleSettings
from slipway.artifacts.process import Say, die_with_parent, environment
from slipway.errors import SlipwayError
from slipway.plugin import failed

ARGUMENTS = {
    "source": {"type": "str", "choices": ["auto", "upstream", "source"], "default": "auto"},
    "accept_unverified": {"type": "bool", "default": False},
    "kubernetes_version": {"type": "str", "required": True},
    "parts": {"type": "list", "elements": "str", "required": True},
    "suites": {"type": "list", "elements": "str", "default": []},
    "architectures": {"type": "list", "elements": "str", "choices": ["amd64", "arm64"], "default": ["amd64"]},
    "upstream_prefix": {"type": "str", "default": "https://"},
    "registry_prefix": {"type": "str", "default": "https://"},
    "mirror": {"type": "bool", "default": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "only_cached": {"type": "bool", "default": False},
    "folder": {"type": "path", "required": True},
    "state": {"type": "path", "required": True},
}

# Asked while Ansible loads this, before it forks: a worker has no terminal of its own.
TERMINAL = sys.stdout.isatty()


class ActionModule(ActionBase):
    """Gets the artifacts while it prints what it does."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # A new run goes on where a killed one stopped, so none may go on unseen.
        die_with_parent()
        try:
            only_cached = arguments.pop("only_cached")
            with environment(arguments.pop("environment")):
                settings = BundleSettings(cache=default_root(), **arguments)
                say, bar = shown(Display())
                outcome = run(settings, say, check=self._task.check_mode, only_cached=only_cached, bar=bar)
        except SlipwayError as exc:
            raise failed(exc) from None
        result["changed"] = outcome.changed
        if outcome.manifest:
            result["manifest"] = outcome.manifest.as_json()
        return result


def shown(display: Display) -> tuple[Say, Say | None]:
    """What prints lines and, on a terminal, the bar below them."""
    if not TERMINAL:
        return display.display, None
    screen = Screen(display.display, lambda text, ends: display.display(text, screen_only=True, newline=ends))
    return screen.say, screen.bar
