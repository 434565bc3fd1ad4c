"""What sites say of the use of their content: robots.txt, reservations, opt-outs."""
