"""The one door to a cluster, for whoever runs Ansible: ask, apply, wait, take away."""
