"""A finished run for people and other programs: report, viewer, exports."""
