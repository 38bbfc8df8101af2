"""How the cluster is: what ``make status`` shows.

The way through the modules: ``collect`` asks the API, Prometheus and Alertmanager (through the API server) → ``judge``
says what of it is wrong and why, as pure functions → ``page`` draws it. ``python -m slipway.status`` ends with 0 when
the cluster is healthy, 1 when something is wrong, 2 when it cannot be asked.
"""
