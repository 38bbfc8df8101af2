"""A release whose objects come as they are: of a Helm chart, of manifests or of a kustomization.

``keys`` is the page, ``source`` gives the objects that it names, ``plan`` puts them in order, ``stages`` says how a
cluster gets there, ``told`` what the objects do not do though they look so, ``claims`` what they promise.
"""
