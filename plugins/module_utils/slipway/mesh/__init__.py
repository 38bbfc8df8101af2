"""Istio: its manifests, the settings that it knows, the gateway and its certificate."""
