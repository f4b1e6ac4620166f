"""Fit: encoder and density on the records dealt out. The result waits in a draft for its calibration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowguard import detector as detectors
from flowguard.encoding import Encoder
from flowguard.logs import scoped
from flowguard.stages.deal import Dealt, stream
from flowguard.stages.meaning import architecture_of, checked_schema, columns_of, engine_of, training_of
from flowguard.stages.progress import say, work
from flowguard.stages.workspace import Workspace
from flowguard.training import Epoch, choose_device


@dataclass(frozen=True)
class Fitted:
    """A draft in `folder`: a trained density whose calibration is still to come; likelihoods in nats per record."""

    folder: Path
    epochs: int
    best_epoch: int
    validation_nll: float
    seconds: float
    resumed_at: int | None
    notices: tuple[str, ...]


@scoped
def fit(pipeline: str | Path, dealt: Dealt) -> Fitted:
    """Train the pipeline's density; killed and run again, it goes on after the last finished epoch."""
    workspace = Workspace.open(pipeline)
    spec = workspace.resolved()
    device = choose_device(spec.resources.device)
    settings = training_of(spec)
    notices: list[str] = []

    def note(encoder: Encoder) -> None:
        notices.extend(encoder.notices)
        for notice in encoder.notices:
            say(notice)

    total = dealt.records["train"]
    epochs = settings.plan(total).epochs
    with work(f"training on {total:,} records ({device})", total=epochs * total) as bar:

        def on_epoch(epoch: Epoch) -> None:
            bar.advance(0, f"epoch {epoch.epoch}: {epoch.validation_nll:.3f} nats on validation")

        detector, result = detectors.fit(
            stream(dealt.folder, "train"),
            stream(dealt.folder, "validation"),
            columns=columns_of(spec, checked_schema(spec, workspace.source())),
            architecture=architecture_of(spec),
            settings=settings,
            engine=engine_of(spec),
            device=device,
            threads=spec.resources.threads,
            checkpoint=dealt.folder / "checkpoint.pt",
            run_key=dealt.key,
            provenance={
                "pipeline": spec.name,
                "training": dealt.key,
                "fingerprint": dealt.fingerprint,
                "records": dealt.records,
                "model": spec.model.model_dump(mode="json"),
                "split": spec.split.model_dump(mode="json"),
                "dealt_by": list(dealt.unit),
                **({} if dealt.excluded is None else {"excluded": dealt.excluded.to_dict()}),
            },
            on_encoder=note,
            on_epoch=on_epoch,
            on_step=bar.advance,
        )
    detectors.save(detector, dealt.folder / "draft")
    return Fitted(
        folder=dealt.folder,
        epochs=len(result.history),
        best_epoch=result.best_epochs["density"],
        validation_nll=result.validation_nll,
        seconds=sum(epoch.seconds for epoch in result.history),
        resumed_at=result.resumed_at,
        notices=tuple(notices),
    )
