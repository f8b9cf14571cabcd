"""Ascending the return itself, from fresh rollouts."""
