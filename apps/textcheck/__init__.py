"""A small application in three roles (page, service, model) that classifies short texts. Only the standard library."""
