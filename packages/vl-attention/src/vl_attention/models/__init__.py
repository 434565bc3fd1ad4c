"""Vision transformers: their layout, how they are called, random students, and masked autoencoders."""
