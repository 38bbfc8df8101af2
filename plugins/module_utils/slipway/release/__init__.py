"""A release: one page in, the objects of the mesh and of monitoring out."""
