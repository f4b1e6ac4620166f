"""The density of a whole record: its discrete part, and the continuous values beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from flowguard.density.column import VALUE, Column
from flowguard.density.config import BY_FAMILY, complete_config
from flowguard.density.continuous import continuous
from flowguard.density.discrete import DiscretePart, Lattice
from flowguard.density.embedding import ContextEmbedding
from flowguard.density.ensemble import Ensemble, maf_ensemble
from flowguard.density.experts import Experts, ExpertTerms
from flowguard.density.flow import Flow
from flowguard.density.gaussian import gaussian
from flowguard.density.inputs import Inputs
from flowguard.density.maf import maf
from flowguard.density.noise import NoiseLevel
from flowguard.density.realnvp import realnvp
from flowguard.density.seeding import seeded
from flowguard.errors import InputError


@dataclass(frozen=True)
class RecordTerms:
    """log p(record | context) and its parts, natural logarithms.

    `log_mass` `(n,)` is log P(discrete part | context), a probability; `log_density` `(n,)` is the log density of the
    continuous values given both; they do not compare, so they are kept apart. `mass_terms` `(n, d)` sum to the first,
    `density_terms` `(n, d)` and `ensemble` `(n,)` to the second; d counts all features, and one without a density adds
    0. `ensemble` is what a mixture of K column orders adds to the terms averaged over them, within
    [-log K, 0]: 0 for one order. `density_terms` is None when the family has no per-column terms.

    With `experts` beside the flow, log-mass and log-density are those of the mixture, `experts` those of each, and
    terms by column are there where they were asked for; `ensemble` then is all that terms leave of the total. `mixed`
    says whether there is anything to leave.
    """

    log_mass: Tensor
    log_density: Tensor
    mass_terms: Tensor
    density_terms: Tensor | None
    ensemble: Tensor
    experts: ExpertTerms | None = None
    mixed: bool = False

    @property
    def log_likelihood(self) -> Tensor:
        """`log_mass + log_density`, in the units the density was trained in."""
        return self.log_mass + self.log_density


class RecordDensity(nn.Module):
    """P(discrete part | context) p(continuous values | discrete part, context), exact.

    The discrete part is which features are missing, at an atom, of which level, and the values of integers
    (`DiscretePart`). Missing values are not imputed: the discrete part joins the context of the flow, and a coordinate
    that is missing or at an atom is held at 0 throughout. Inputs: see `Inputs`; floats have the dtype and device of the
    weights. A table without numbers has no flow. With `noise`, the flow is trained at many levels of it and read at
    one (`NoiseLevel`).

    Example:
        >>> number = {"kind": "number", "counts": [90, 10]}
        >>> density = RecordDensity.build({"columns": [number, number], "numeric": 0, "cardinalities": []})
        >>> inputs = Inputs.plain(torch.zeros(1, 2))
        >>> inputs.codes[0, 1] = 1
        >>> density(inputs).density_terms[0, 1].item()
        0.0
    """

    config: dict[str, Any]
    numbers: Tensor
    coded: Tensor

    def __init__(
        self,
        embedding: ContextEmbedding,
        flow: Flow | Ensemble | None,
        discrete_embedding: ContextEmbedding,
        discrete: DiscretePart,
        config: dict[str, Any],
        *,
        noise: NoiseLevel | None = None,
    ) -> None:
        super().__init__()
        self.noise = noise
        self.experts: Experts | None = None
        self.embedding, self.flow, self.config = embedding, flow, config
        self.discrete_embedding, self.discrete = discrete_embedding, discrete
        self.features = len(discrete.columns)
        numbers = [i for i, column in enumerate(discrete.columns) if column.kind == "number"]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.long), persistent=False)
        self.register_buffer("coded", discrete.coded, persistent=False)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> RecordDensity:
        """A new density as plain JSON describes it; `density.config` is that with its defaults written out.

        Needed: `columns` (see `Column`), `numeric` and `cardinalities` (of the context). Defaults: see
        `config.py` (`order` is the coupling mask of realnvp). Weights depend on `seed` alone.

        Errors: ValueError for a config that names no density; InputError for `mixing` where values can be missing.
        """
        full = complete_config(config)
        seed = full["seed"]
        columns = [Column.from_dict(column) for column in full["columns"]]
        features = sum(column.kind == "number" for column in columns)
        gaps = [column for column in columns if column.kind == "number" and column.live != (VALUE,)]
        if full.get("mixing", "none") != "none" and gaps:
            raise InputError(
                f"model.mixing: {full['mixing']!r} needs columns that always have a continuous value, and {len(gaps)} "
                f"of the {features} numbers are missing or at an atom in some training records. Leave `mixing` out."
            )
        integers = sum(column.kind == "integer" for column in columns)
        coded = [column for column in columns if len(column.live) > 1]
        with seeded(seed):
            embedding = ContextEmbedding(
                full["numeric"] + integers,
                full["cardinalities"] + [len(column.counts) for column in coded],
                dropout=full["unseen_rate"],
                width=full["embedding_width"],
                linear=full["family"] == "gaussian",
                # Code 0 of a number is that it has a value, so it cannot stand for a level that is not known.
                steady=[
                    len(full["cardinalities"]) + place
                    for place, column in enumerate(coded)
                    if column.kind != "category"
                ],
            )
            learned = coded or integers
            # An embedding of its own: what is missing may be overfitted long before the values are learned, and
            # parts that share no weights can be stopped apart.
            discrete_embedding = ContextEmbedding(
                full["numeric"] if learned else 0,
                full["cardinalities"] if learned else [],
                dropout=full["unseen_rate"],
                width=full["discrete_width"],
            )
            discrete = DiscretePart(
                columns,
                context=discrete_embedding.out_features,
                hidden=full["discrete_hidden"],
                backoff=full["backoff"],
            )
        noise = NoiseLevel(full["noise"]) if features and full.get("noise") else None
        flow = _flow(full, features, context=embedding.out_features + (noise is not None)) if features else None
        density = cls(embedding, flow, discrete_embedding, discrete, full, noise=noise)
        if full["experts"]:
            given = {"numeric": full["numeric"], "cardinalities": full["cardinalities"]}
            density.experts = Experts.from_config(columns, full["experts"], **given)
        return density

    def joined_by(self, experts: Experts) -> None:
        """Mix the trained flow with `experts` from now on; the config names them."""
        self.experts, self.config = experts, {**self.config, "experts": experts.config}

    def parts(self) -> dict[str, nn.Module]:
        """The two densities that share no weights: `mass` of the discrete part, and `density` of the values."""
        flow: list[nn.Module] = [] if self.flow is None else [self.embedding, self.flow]
        flow += [] if self.noise is None else [self.noise]
        return {
            "mass": nn.ModuleList([self.discrete_embedding, self.discrete]),
            "density": nn.ModuleList(flow),
        }

    @property
    def rare(self) -> bool:
        """Whether nothing but missing values is to be learned of the discrete part."""
        return all(column.rare and column.kind == "number" for column in self.discrete.columns)

    @property
    def triangular(self) -> bool:
        """Whether per-column density terms and column quantiles exist."""
        return self.flow is None or self.flow.triangular

    @property
    def orders(self) -> int:
        """How many column orders are mixed; 1 unless the density is an ensemble."""
        return len(self.flow.members) if isinstance(self.flow, Ensemble) else 1

    def forward(self, inputs: Inputs, *, by_column: bool = True) -> RecordTerms:
        """Log-probability of the discrete part and log-density of the values, in total and by column.

        `by_column` counts only where there are experts, whose terms by column cost more than their totals.
        """
        found = self._of_flow(inputs)
        if self.experts is None:
            return found
        flow = (found.log_mass, found.log_density, found.mass_terms, found.density_terms)
        (log_mass, log_density, mass_terms, density_terms), told = self.experts(inputs, flow, by_column=by_column)
        rest = torch.zeros_like(log_mass)
        if density_terms is not None:
            rest = log_mass + log_density - mass_terms.sum(-1) - density_terms.sum(-1)
        return RecordTerms(
            log_mass, log_density, mass_terms, density_terms, rest, told, mixed=density_terms is not None
        )

    def log_prob(self, inputs: Inputs) -> Tensor:
        """log p(record | context) alone, `(n,)`: cheaper than `forward` where there are experts."""
        total = self.flow_log_prob(inputs)
        return total if self.experts is None else self.experts.log_prob(inputs, total)

    def flow_log_prob(self, inputs: Inputs) -> Tensor:
        """The same without the experts, `(n,)`."""
        return self._of_flow(inputs).log_likelihood

    def _of_flow(self, inputs: Inputs) -> RecordTerms:
        mass_terms = self._mass_terms(inputs)
        log_mass, nothing = mass_terms.sum(-1), mass_terms.new_zeros(len(inputs))
        if self.flow is None:
            return RecordTerms(log_mass, nothing, mass_terms, torch.zeros_like(mass_terms), nothing)
        x, observed = inputs.x, self.observed(inputs.codes)
        if self.noise is not None and self.training:
            x, told = self.noise.disturbed(x)
            given = self._given(inputs, told)
        else:
            given = self._given(inputs)
        if not self.triangular:
            log_density = self.flow.log_prob(x, given, observed=observed)
            return RecordTerms(log_mass, log_density, mass_terms, None, nothing)
        terms, ensemble = self.flow.terms_and_ensemble(x, given, observed=observed)
        density_terms = torch.zeros_like(mass_terms).index_copy(1, self.numbers, terms)
        mixed = self.orders > 1
        return RecordTerms(log_mass, terms.sum(-1) + ensemble, mass_terms, density_terms, ensemble, mixed=mixed)

    def beside(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """All but the numbers' values: `log_mass` `(n,)`, what the flow is conditioned on, and which values are there.

        It stays as it is while values change and none comes or goes. Without experts.
        """
        return self._mass_terms(inputs).sum(-1), self._given(inputs), self.observed(inputs.codes)

    def observed(self, codes: Tensor) -> Tensor:
        """Which numbers have a continuous value, bool `(n, m)`."""
        return codes.index_select(1, self.numbers) == VALUE

    def latent(self, inputs: Inputs) -> Tensor:
        """The noise that each record's numbers map to given the rest of it, `(n, orders, m)`, 0 where there is none.

        Of ordinary records it is standard normal, whatever the context. A mixture of column orders has a code in each.
        """
        if self.flow is None:
            return inputs.x.new_zeros(len(inputs), 1, 0)
        flows = list(self.flow.members) if isinstance(self.flow, Ensemble) else [self.flow]
        given, observed = self._given(inputs), self.observed(inputs.codes)
        each = [cast(Flow, flow).latent(inputs.x, given, observed=observed) for flow in flows]
        return torch.stack(each, 1)

    def code_log_probs(self, inputs: Inputs, column: int) -> Tensor:
        """log p of every code of one feature given the features before it and the context, `(n, codes)`."""
        return self.discrete.code_log_probs(
            inputs.codes, inputs.lower, inputs.log_width, self._context(inputs), column=column
        )

    def column_quantile(self, inputs: Inputs, column: int, q: float | Tensor) -> Tensor:
        """The q-quantile of one number or integer given the discrete part, the context and what comes before, `(n,)`.

        On the axis of the density. The column counts as having a value, whatever its code. Before it: in the order of
        the model; of several orders, in the one where it comes last. Errors: TypeError for a category, or when the
        family has no column order.
        """
        codes = inputs.codes.clone()
        codes[:, column] = VALUE
        inputs = replace(inputs, codes=codes)
        kind = self.discrete.columns[column].kind
        if kind == "integer":
            return self.discrete.quantile(
                inputs.codes, inputs.lower, inputs.log_width, self._context(inputs), column=column, q=q
            )
        if kind != "number" or self.flow is None:
            raise TypeError(f"feature {column} is a {kind}: it has probabilities, not quantiles")
        place = int((self.numbers == column).nonzero().item())
        return self.flow.column_quantile(inputs.x, place, q, self._given(inputs), observed=self.observed(inputs.codes))

    def column_quantiles(self, inputs: Inputs, q: float) -> Tensor:
        """`column_quantile` but for rounding of numbers, then integers, `(n, m + j)`: all for a few passes together.

        NaN of a number that has no value. TypeError where the family has no column order.
        """
        found = [inputs.x]
        if self.flow is not None:
            found = [self.flow.column_quantiles(inputs.x, q, self._given(inputs), observed=self.observed(inputs.codes))]
        if self.discrete.integers:
            known = inputs.codes, inputs.lower, inputs.log_width, self._context(inputs)
            found.append(self.discrete.quantiles(*known, q=q))
        return torch.cat(found, -1)

    def sample(
        self,
        context: Tensor,
        levels: Tensor,
        *,
        lattice: Lattice | None = None,
        generator: torch.Generator | None = None,
    ) -> Inputs:
        """One record per row of the context; `lattice` as in `DiscretePart.sample`, for integers alone."""
        nowhere = context.new_zeros(len(context), len(self.numbers))
        with torch.no_grad():
            known = self.discrete_embedding(context, levels) if self.discrete.usual is not None else context[:, :0]
            codes, lower, log_width = self.discrete.sample(known, lattice=lattice, generator=generator)
            drawn = Inputs(nowhere, codes, lower, log_width, context, levels)
            if self.flow is None:
                return drawn
            observed = self.observed(codes)
            x = self.flow.sample(len(codes), self._given(drawn), observed=observed, generator=generator)
        return replace(drawn, x=x)

    def _mass_terms(self, inputs: Inputs) -> Tensor:
        return self.discrete.terms(inputs.codes, inputs.lower, inputs.log_width, self._context(inputs))

    def _context(self, inputs: Inputs) -> Tensor:
        """What the discrete part is conditioned on; nothing where nothing in it varies."""
        if self.discrete.usual is None:
            return inputs.context[:, :0]
        return self.discrete_embedding(inputs.context, inputs.levels)

    def _given(self, inputs: Inputs, told: Tensor | None = None) -> Tensor:
        """What the flow is conditioned on: the context and the discrete part, embedded, and the level of the noise."""
        numeric = torch.cat((inputs.context, self.discrete.integers_seen(inputs.codes, inputs.lower)), -1)
        levels = torch.cat((inputs.levels, inputs.codes.index_select(1, self.coded)), -1)
        given = self.embedding(numeric, levels)
        if self.noise is None:
            return given
        return torch.cat((given, self.noise.read(len(inputs)) if told is None else told), -1)


def _flow(full: Mapping[str, Any], features: int, *, context: int) -> Flow | Ensemble:
    """The density of the continuous values that a complete config describes."""
    own = {key: full[key] for key in BY_FAMILY[full["family"]] if key != "noise"}
    shared = {"context": context, "seed": full["seed"]}
    orders = own.pop("orders", 1)
    if orders != 1:
        if (order := own.pop("order")) != "single":
            raise ValueError(f"{orders} orders are an ensemble of order 'single', not {order!r}")
        return maf_ensemble(features, orders=orders, **shared, **own)
    if full["family"] == "maf":
        return maf(features, **shared, **own)
    if full["family"] == "gaussian":
        return gaussian(features, **shared)
    if full["family"] == "continuous":
        return continuous(features, **shared, **own)
    return realnvp(features, mask=own.pop("order"), **shared, **own)
