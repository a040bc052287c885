"""Checks of a sequence by its own images and depth: conventions, times, focal length; before anything is mapped from it."""
