"""`m2h doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.options import common_options, print_json, say


@click.command()
@common_options
def doctor(config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Versions, devices, system libraries and missing extras. Exit code 1 when a requirement is missing."""
    from pipelines.diagnosis import EXTRAS, diagnose

    facts = diagnose()
    if as_json:
        print_json(facts)
    else:
        say(f"machine     {facts['machine']}")
        say(f"gpu         {facts['gpu']}")
        for name, version in facts["versions"].items():
            say(f"{name:<24}{version}")
        for name, found in facts["system_libraries"].items():
            say(f"{name:<24}{'found' if found else 'MISSING'}")
        for name, found in facts["extras"].items():
            state = "installed" if found else f"not installed: pip install 'm2h-mapping[{name}]' for {EXTRAS[name][1]}"
            say(f"extra {name:<18}{state}")
        for problem in facts["problems"]:
            say(f"PROBLEM  {problem}")
        if not facts["problems"]:
            say("All requirements are met.")
    if facts["problems"]:
        raise click.exceptions.Exit(1)
