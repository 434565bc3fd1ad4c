"""Contrastive losses between images and texts whose memory grows with the batch, not with its square."""
