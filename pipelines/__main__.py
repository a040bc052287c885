"""`python -m pipelines` is `m2h`."""

from pipelines.cli import main

main(prog_name="m2h")
