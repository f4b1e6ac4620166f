"""A version as a plain MLflow model: MLflow copies this file into the model and runs it on load.

It needs flowguard installed and nothing else; no pickle is read or written.
"""

from __future__ import annotations

from typing import Any

import mlflow.models
import pandas as pd
from mlflow.pyfunc import PythonModel


class Scorer(PythonModel):
    """Scores records with the bundle that lies beside this file in the model."""

    def load_context(self, context: Any) -> None:
        from flowguard.detector import load

        self.detector = load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per record, in the same order: see `flowguard.registry.signature.OUTPUTS`.

        With `params={"reasons": 3}` every flagged record comes with the three strongest reasons.
        """
        from flowguard.registry.arrival import as_declared
        from flowguard.registry.signature import OUTPUTS
        from flowguard.registry.told import with_reasons

        detector = self.detector
        records = as_declared(
            model_input.reset_index(drop=True),
            detector.columns,
            key=detector.key,
            redact=detector.redact,
        )
        scores = detector.score_frame(records)
        scores = scores[[name for name in OUTPUTS if name in scores]]
        # None, not NaN: MLflow writes NaN into its JSON as it is, and then the answer is no JSON.
        scores["refused"] = scores["refused"].astype(object).where(scores["refused"].notna(), None)
        return with_reasons(detector, records, scores, (params or {}).get("reasons", 0))


mlflow.models.set_model(Scorer())
