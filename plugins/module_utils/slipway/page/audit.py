"""The audit policy that the page asks for: none, Slipway's own, or that of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import SlipwayError
from ..paths import ROOT, user_path

OFF = "off"
METADATA = "metadata"
OWN = ROOT / "roles" / "control_plane" / "files" / "audit.yml"
API = "audit.k8s.io/v1"
LEVELS = ("None", "Metadata", "Request", "RequestResponse")


_STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_POLICY = ("apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields")
_LISTS = ("users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages")
_RESOURCE = ("group", "resources", "resourceNames")


def problem(text: str) -> str:
    """Say why an API server would not start with this policy, or would not do what it means; empty: it would."""
    try:
        policy = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        return f"is no valid YAML: {' '.join(str(exc).split())}"
    if not isinstance(policy, dict) or policy.get("kind") != "Policy" or policy.get("apiVersion") != API:
        return f"is no audit policy: it has to have apiVersion: {API} and kind: Policy"
    if unknown := [str(key) for key in policy if key not in _POLICY]:
        return f"is no audit policy: {unknown[0]} is no key of one ({', '.join(_POLICY)})"
    rules = policy.get("rules")
    if not isinstance(rules, list) or not rules:
        return "has no rules"
    faults = (_rule_problem(number, rule) for number, rule in enumerate(rules, 1))
    return _stages_problem(policy, "the policy") or next(filter(None, faults), "")


def _stages_problem(there: dict[Any, Any], of: str) -> str:
    wrong = [stage for stage in there.get("omitStages") or () if stage not in _STAGES]
    return f"has omitStages of {of} with {wrong[0]}, which is none of {', '.join(_STAGES)}" if wrong else ""


def _rule_problem(number: int, rule: Any) -> str:
    level = rule.get("level") if isinstance(rule, dict) else None
    if level not in LEVELS:
        return f"is no audit policy: rule {number} has level {level}, which is none of {', '.join(LEVELS)}"
    for key, value in rule.items():
        if key not in ("level", "omitManagedFields", *_LISTS):
            return f"is no audit policy: {key} of rule {number} is no key of a rule ({', '.join(_LISTS)})"
        if key in _LISTS and not isinstance(value, list):
            return f"is no audit policy: {key} of rule {number} is no list"
    for resource in rule.get("resources", []):
        wrong = [key for key in resource if key not in _RESOURCE] if isinstance(resource, dict) else [resource]
        if wrong:
            return f"is no audit policy: {wrong[0]} of a resource of rule {number} is none of {', '.join(_RESOURCE)}"
    return _stages_problem(rule, f"rule {number}")


def file_problem(path: Path) -> str:
    """Say why the file at ``path`` cannot be the policy; empty: it can."""
    try:
        return problem(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return "is not a text"
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"


def policy(setting: str | bool, root: Path = ROOT) -> str:
    """Give the text of the policy for ``cluster_audit``; empty: no audit log. Raises SlipwayError."""
    # YAML reads a plain `off` as false.
    if setting is False or setting == OFF:
        return ""
    path = OWN if setting == METADATA else user_path(root, str(setting))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SlipwayError("audit-policy", f"cluster_audit: {path} cannot be read: {exc}") from None
