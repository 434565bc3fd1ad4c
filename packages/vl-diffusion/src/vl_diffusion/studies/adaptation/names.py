"""The names of the methods that a study compares; `methods` builds them, which needs torch."""

SOURCE = "source"
"""The classifier without adaptation, the baseline of the others."""

METHOD_TITLES = {
    SOURCE: "source classifier",
    "tent": "TENT",
    "default": "adapter",
    "default_online": "adapter, online",
    "ungated": "ungated",
    "diffusion_tta": "Diffusion-TTA",
    "diffusion_classifier": "diffusion classifier",
}
"""Names of the methods in words, for figures and documents."""

METHOD_NAMES = tuple(METHOD_TITLES)
"""Names of all methods: the classifier without adaptation; TENT; the adapter's defaults, episodic, online, and without
a gate; the published setting of Diffusion-TTA; and the diffusion model as the classifier."""
