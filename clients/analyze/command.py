"""`emotion-client analyze`: its options, and what it says."""

from pathlib import Path
from typing import Annotated

import typer

from clients.options import Adapt, Hop, Model, NoVad, Window, names
from emotion.cores import cores

Paths = Annotated[
    list[Path], typer.Argument(help="Recordings, and folders of them.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        help="Where to: a name that ends in .jsonl, .csv, .parquet or .emotionml.",
        metavar="FILE",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="jsonl, csv, parquet or emotionml, whatever --out ends in."),
]
Channels = Annotated[
    str | None,
    typer.Option(
        help="Names of the recordings' channels, such as customer,agent; without them left,right.",
        metavar="A,B",
        show_default=False,
    ),
]
Analyze = Annotated[
    str | None,
    typer.Option(
        help="Which channels are analysed; all of them without, but not one named agent.",
        metavar="A,B",
        show_default=False,
    ),
]
Mix = Annotated[bool, typer.Option("--mix", help="Mix several channels down to one.")]
Timelines = Annotated[
    Path | None,
    typer.Option(help="A folder for a picture of each recording.", metavar="DIR"),
]
TimelineFormat = Annotated[str, typer.Option(help="svg, html or png.")]
Jobs = Annotated[
    int | None,
    typer.Option(help="Recordings at a time; one a core without.", min=1, show_default=False),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Begin anew, whatever an earlier run has finished.")
]


def analyze(
    paths: Paths,
    out: Out,
    form: Format = None,
    channels: Channels = None,
    analyze: Analyze = None,
    mix: Mix = False,
    timelines: Timelines = None,
    timeline_format: TimelineFormat = "svg",
    model: Model = None,
    window: Window = 3.0,
    hop: Hop = 1.0,
    no_vad: NoVad = False,
    adapt: Adapt = None,
    jobs: Jobs = None,
    fresh: Fresh = False,
) -> None:
    """Judges recordings and folders of them into one file, as fast as the machine can.

    A run that was interrupted goes on when the same command is given again. A recording that cannot be
    read is skipped and named at the end; the exit code is then 1.
    """
    from clients.analyze.judge import Settings  # with ONNX Runtime, which no other command needs
    from clients.analyze.whole import Job, do

    settings = Settings(
        window_s=window,
        hop_s=hop,
        vad=not no_vad,
        adapt=adapt,
        channels=names(channels),
        analyze=names(analyze),
        mix=mix,
    )
    job = Job(
        paths=paths,
        out=out,
        form=form,
        settings=settings,
        model=model,
        timelines=timelines,
        timeline_format=timeline_format,
        jobs=jobs or cores(),
        fresh=fresh,
    )
    if not do(job):
        raise typer.Exit(1)
