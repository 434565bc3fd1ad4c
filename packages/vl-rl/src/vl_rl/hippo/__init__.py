"""HiPPO: a manager and its skills, trained together by proximal policy optimization."""
