"""Training of students, classifiers and masked autoencoders by the loop of `vl_core.training`."""
