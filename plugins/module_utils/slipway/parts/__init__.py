"""What single parts of a cluster work out: MetalLB, the pod network, consoles, dashboards, passwords, rules."""
