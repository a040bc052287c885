"""A finished run in the formats of other programs; what needs the recording's images opens it again."""
