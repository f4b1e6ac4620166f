"""The density of a whole record: which columns are missing, and the values of those that are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from flowguard.density.continuous import continuous
from flowguard.density.embedding import ContextEmbedding
from flowguard.density.ensemble import Ensemble, maf_ensemble
from flowguard.density.flow import Flow
from flowguard.density.gaussian import gaussian
from flowguard.density.maf import maf
from flowguard.density.missing import MissingMask
from flowguard.density.realnvp import realnvp
from flowguard.density.seeding import seeded
from flowguard.errors import InputError

REQUIRED: Final = ("features", "numeric", "cardinalities", "maskable", "training_rows")
COMMON: Final[dict[str, Any]] = {
    "family": "maf",
    "embedding_width": 64,
    "unseen_rate": 0.02,
    "mask_width": 16,
    "mask_hidden": [16],
    "mask_backoff": 0.1,
    "seed": 0,
}
STACK: Final[dict[str, Any]] = {"hidden": [64, 64], "bins": 8, "components": 8}
BY_FAMILY: Final[dict[str, dict[str, Any]]] = {
    "maf": STACK | {"transformer": "spline", "order": "single", "orders": 1, "layers": 3},
    "realnvp": STACK | {"transformer": "affine", "order": "alternate", "mixing": "none", "layers": 6},
    "gaussian": {},
    "continuous": {"hidden": [64, 64], "steps": 16, "divergence": "auto", "backward": "direct"},
}


@dataclass(frozen=True)
class RecordTerms:
    """log p(record | context) and its parts, natural logarithms.

    `log_mass` `(n,)` is log p(mask | context), a probability; `log_density` `(n,)` is log p(x_observed |
    mask, context), a density; they do not compare, so they are kept apart. `mass_terms` `(n, features)` sum to the
    first, `density_terms` `(n, features)` and `ensemble` `(n,)` to the second. `ensemble` is what a mixture of K
    column orders adds to the terms averaged over them, within [-log K, 0]: 0 for one order. `density_terms` is None
    when the family has no per-column terms.
    """

    log_mass: Tensor
    log_density: Tensor
    mass_terms: Tensor
    density_terms: Tensor | None
    ensemble: Tensor

    @property
    def log_likelihood(self) -> Tensor:
        """`log_mass + log_density`, in the units the density was trained in."""
        return self.log_mass + self.log_density


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every default written out, in a fixed order.

    Errors: ValueError for an unknown or absent key or an unknown family.
    """
    family = config.get("family") or COMMON["family"]
    if family not in BY_FAMILY:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(BY_FAMILY)}")
    defaults = COMMON | BY_FAMILY[family]
    absent = [key for key in REQUIRED if key not in config]
    unknown = [key for key in config if key not in defaults and key not in REQUIRED]
    if absent or unknown:
        raise ValueError(f"density config: absent keys {absent}, unknown keys {unknown}")
    # None asks for the default, so that an optional setting can be passed on as it is.
    given = {key: value for key, value in config.items() if value is not None}
    full = {key: config[key] for key in REQUIRED} | defaults | given
    return {key: list(value) if isinstance(value, list | tuple) else value for key, value in full.items()}


class RecordDensity(nn.Module):
    """p(mask | context) p(x_observed | mask, context), exact.

    Missing values are not imputed: the mask of the columns that can be missing joins the context of the flow,
    and a missing coordinate is held at 0 throughout. Inputs: x `(n, features)` (anything where unobserved),
    observed bool `(n, features)`, context `(n, numeric)` and codes int64 `(n, categories)`. Floats have the
    dtype and device of the weights.

    Example:
        >>> import torch
        >>> density = RecordDensity.build(
        ...     dict(features=2, numeric=1, cardinalities=[4], maskable=[1], training_rows=100)
        ... )
        >>> observed = torch.tensor([[True, False]])
        >>> parts = density(torch.zeros(1, 2), observed, torch.zeros(1, 1), torch.tensor([[2]]))
        >>> parts.density_terms[0, 1].item()
        0.0
    """

    config: dict[str, Any]
    columns: Tensor

    def __init__(
        self,
        embedding: ContextEmbedding,
        flow: Flow | Ensemble,
        mask_embedding: ContextEmbedding,
        mask: MissingMask,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.embedding, self.flow, self.config = embedding, flow, config
        self.mask_embedding, self.mask = mask_embedding, mask
        self.register_buffer("columns", torch.tensor(mask.maskable, dtype=torch.long), persistent=False)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> RecordDensity:
        """A new density as plain JSON describes it; `density.config` is that with its defaults written out.

        Needed: `features`, `numeric`, `cardinalities`, `maskable`, `training_rows`. Defaults: see `COMMON`
        and `BY_FAMILY` (`order` is the coupling mask of realnvp). Weights depend on `seed` alone.

        Errors: ValueError for a config that names no density; InputError for `mixing` where columns can be missing.
        """
        full = complete_config(config)
        seed, features, maskable = full["seed"], full["features"], full["maskable"]
        if full.get("mixing", "none") != "none" and maskable:
            raise InputError(
                f"model.mixing: {full['mixing']!r} needs columns that are never missing, and {len(maskable)} of the "
                f"{features} features are missing in some training records. Leave `mixing` out."
            )
        with seeded(seed):
            embedding = ContextEmbedding(
                full["numeric"],
                full["cardinalities"],
                dropout=full["unseen_rate"],
                width=full["embedding_width"],
                linear=full["family"] == "gaussian",
            )
            # An embedding of its own: what is missing may be overfitted long before the values are learned, and
            # parts that share no weights can be stopped apart.
            mask_embedding = ContextEmbedding(
                full["numeric"] if maskable else 0,
                full["cardinalities"] if maskable else [],
                dropout=full["unseen_rate"],
                width=full["mask_width"],
            )
            mask = MissingMask(
                features,
                maskable,
                context=mask_embedding.out_features,
                training_rows=full["training_rows"],
                hidden=full["mask_hidden"],
                backoff=full["mask_backoff"],
            )
        shared = {
            "context": embedding.out_features + len(maskable),
            "seed": seed,
        }
        own = {key: full[key] for key in BY_FAMILY[full["family"]]}
        orders = own.pop("orders", 1)
        flow: Flow | Ensemble
        if orders != 1:
            if (order := own.pop("order")) != "single":
                raise ValueError(f"{orders} orders are an ensemble of order 'single', not {order!r}")
            flow = maf_ensemble(features, orders=orders, **shared, **own)
        elif full["family"] == "maf":
            flow = maf(features, **shared, **own)
        elif full["family"] == "gaussian":
            flow = gaussian(features, **shared)
        elif full["family"] == "continuous":
            flow = continuous(features, **shared, **own)
        else:
            flow = realnvp(features, mask=own.pop("order"), **shared, **own)
        return cls(embedding, flow, mask_embedding, mask, full)

    def parts(self) -> dict[str, nn.Module]:
        """The two densities that share no weights: `mass`, p(mask | context), and `density`, of the values."""
        return {
            "mass": nn.ModuleList([self.mask_embedding, self.mask]),
            "density": nn.ModuleList([self.embedding, self.flow]),
        }

    @property
    def features(self) -> int:
        """Columns of x."""
        return self.flow.features

    @property
    def triangular(self) -> bool:
        """Whether per-column density terms and column quantiles exist."""
        return self.flow.triangular

    @property
    def orders(self) -> int:
        """How many column orders are mixed; 1 unless the density is an ensemble."""
        return len(self.flow.members) if isinstance(self.flow, Ensemble) else 1

    def forward(self, x: Tensor, observed: Tensor, context: Tensor, codes: Tensor) -> RecordTerms:
        """Log-probability of the mask and log-density of the observed values, in total and by column."""
        mass_terms = self.mask.log_prob(observed, self._embedded_for_mask(context, codes))
        given = self._given(self.embedding(context, codes), observed)
        if not self.triangular:
            log_density = self.flow.log_prob(x, given, observed=observed)
            return RecordTerms(mass_terms.sum(-1), log_density, mass_terms, None, torch.zeros_like(log_density))
        density_terms, ensemble = self.flow.terms_and_ensemble(x, given, observed=observed)
        return RecordTerms(mass_terms.sum(-1), density_terms.sum(-1) + ensemble, mass_terms, density_terms, ensemble)

    def column_quantile(
        self, x: Tensor, observed: Tensor, context: Tensor, codes: Tensor, column: int, q: float | Tensor
    ) -> Tensor:
        """The q-quantile of one column given the mask, the context and the columns before it, `(n,)`.

        Before it in the order of the model; of several orders, in the one where it comes last. NaN where that column is
        unobserved. Errors: TypeError when the family has no column order.
        """
        given = self._given(self.embedding(context, codes), observed)
        return self.flow.column_quantile(x, column, q, given, observed=observed)

    def sample(self, context: Tensor, codes: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """One record per row of the context: x (0 where unobserved) and observed, both `(n, features)`."""
        with torch.no_grad():
            observed = self.mask.sample(self._embedded_for_mask(context, codes), generator=generator)
            given = self._given(self.embedding(context, codes), observed)
            x = self.flow.sample(len(observed), given, observed=observed, generator=generator)
        return x, observed

    def _embedded_for_mask(self, context: Tensor, codes: Tensor) -> Tensor:
        """What the mask is conditioned on; nothing where no column can be missing."""
        return self.mask_embedding(context, codes) if self.mask.maskable else context[:, :0]

    def _given(self, embedded: Tensor, observed: Tensor) -> Tensor:
        """What the flow is conditioned on: the embedded context and the mask of the maskable columns."""
        return torch.cat((embedded, observed.index_select(1, self.columns).to(embedded.dtype)), -1)
