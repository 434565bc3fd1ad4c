"""Probes: k-NN and linear accuracy of a backbone, during training and after."""
