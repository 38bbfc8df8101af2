"""For all unit tests: collections are found as Ansible finds them, whichever test comes first."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
