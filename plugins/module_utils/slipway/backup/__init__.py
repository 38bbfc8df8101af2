"""A backup of a cluster: one encrypted archive on the user's computer."""
