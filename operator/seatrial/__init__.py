"""Hyperparameter studies as Kubernetes resources, and on a laptop."""
