"""Presentation of a finished run: report, viewer, exports."""
