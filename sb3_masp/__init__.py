"""Stable-Baselines3 learners that share credit among similar actions."""
