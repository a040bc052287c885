"""The graph as files: our JSON, spark_dsg, and what other programs read."""
