"""Presentation of a finished run: report, viewer, floor plans."""
