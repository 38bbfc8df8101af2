"""What the tests share: labs with names and networks of their own, kubectl, pods that report what they see."""
