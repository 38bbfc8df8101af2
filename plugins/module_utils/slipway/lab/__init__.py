"""The machines that a cluster stands on: planned, made, listed, and taken away.

``plan`` says which machines a page means, for the Vagrantfile and the inventory; ``provider`` does what Docker and
Vagrant need around that.
"""
