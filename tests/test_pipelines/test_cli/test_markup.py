"""Names of folders and classes are printed as they are: none of them is markup."""

from pathlib import Path

from pipelines.cli.run import print_summary
from pipelines.pipeline import STAGE_NAMES


def test_names_in_the_summary_are_no_markup(capsys):
    record = {"up_to_date": False, "seconds": 1.0, "peak_memory_mb": 2.0, "warnings": ["frame omitted: [/b] :smile:"]}
    manifest = {
        "input": {"name": "[/b]", "format": "tum"},
        "source": "precomputed:[red]",
        "stages": {name: record | {"summary": {"text": "3 [/a] objects"}} for name in STAGE_NAMES},
    }
    print_summary(manifest, Path("runs[/x]"))
    shown = capsys.readouterr().out
    for text in (
        "[/b] (tum, precomputed:[red])",
        "3 [/a] objects",
        "frame omitted: [/b] :smile:",
        "runs[/x]/report.html",
    ):
        assert text in shown
