"""Models of the reward of concepts, acquisition functions, and the distribution that queries are drawn from."""
