"""The loop: propose queries, search, download, reward, learn, and propose again."""
