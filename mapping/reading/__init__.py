"""Reading of files that others wrote: the only place that opens, decodes and parses them, with limits."""
