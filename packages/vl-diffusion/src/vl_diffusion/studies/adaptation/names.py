"""The names of the methods that a study compares; `methods` builds them, which needs torch."""

SOURCE = "source"
"""The classifier without adaptation, the baseline of the others."""

METHOD_NAMES = (SOURCE, "tent", "default", "default_online", "ungated", "diffusion_tta", "diffusion_classifier")
"""Names of all methods: the classifier without adaptation; TENT; the adapter's defaults, episodic, online, and without
a gate; the published setting of Diffusion-TTA; and the diffusion model as the classifier."""
