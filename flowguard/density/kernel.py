"""The kernel density: every record kept from training is the middle of a small bump."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from flowguard.density.bumps import CodeBump, Marks, log_lattice_sum
from flowguard.density.column import VALUE, Column
from flowguard.density.distance import log_sums, product, square_distance
from flowguard.density.flow import log_normal
from flowguard.density.inputs import Inputs

Scale = Literal["line", "front"]

BLOCK = 128
"""Records whose distances to all centres are held at once."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class KernelTerms:
    """log p(record | context) of a kernel density and its parts; see `RecordTerms`.

    `log_mass` and `log_density` are `(n,)`; `mass_terms` and `density_terms` `(n, d)` sum to them, or are None where
    only the totals were asked for.
    """

    log_mass: Tensor
    log_density: Tensor
    mass_terms: Tensor | None = None
    density_terms: Tensor | None = None


class KernelDensity(nn.Module):
    """The exact mixed density p(record | context) = sum_i w_i(context) sum_s v_s prod_f K_s(record_f; centre_if).

    Each of N training records is a centre. Its bump is a product over the features, so any sum over some of them is
    again a sum of products: the discrete part, each feature given those before it and the context all have closed
    forms, and a value that is missing drops out. A bump has one of few widths s with weight v_s:

    - number: a Gaussian of deviation h_s on its scale; where the centre has no value, the standard normal;
    - integer: the same over the points of its lattice, whose sum is known (`log_lattice_sum`);
    - code (level, atom, missing): the centre's own with probability 1 - e_s, else one by its frequency;
    - context: Gaussian bumps of deviation g and codes, which weigh the centres (Nadaraya 1964; Watson 1964).

    `scale` is that of numbers: `line`, deviations from the mean, or `front`, the axis of the encoder's front. Widths
    and weights are chosen by leaving one out (`fit_kernel`). Densities are those of `Inputs.x` in either case.

    Source: Parzen 1962; Aitchison and Aitken 1976 for the codes; Li and Racine 2003 for both together.

    Errors: ValueError for an unknown scale or fewer than two centres.

    Example:
        >>> from flowguard.density.kernel_fit import fit_kernel
        >>> inputs = Inputs.plain(torch.randn(200, 2))
        >>> columns = [Column("number", (200, 0))] * 2
        >>> kernel = fit_kernel(inputs, columns, scale="front", seed=0)
        >>> records = Inputs.plain(torch.tensor([[0.0, 0.0], [9.0, 9.0]], dtype=torch.float64))
        >>> near, far = kernel(records).log_density.tolist()
        >>> near > far
        True
    """

    values: Tensor
    codes: Tensor
    context: Tensor
    levels: Tensor
    width: Tensor
    leak: Tensor
    log_weight: Tensor
    context_width: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        centres: int,
        numeric: int = 0,
        cardinalities: Sequence[int] = (),
        scale: Scale = "line",
        widths: int = 2,
    ) -> None:
        super().__init__()
        if scale not in get_args(Scale):
            raise ValueError(f"unknown scale {scale!r}; known: {', '.join(get_args(Scale))}")
        if centres < 2:
            raise ValueError(f"a kernel density needs at least two centres, not {centres}")
        self.columns, self.scale, self.centres = tuple(columns), scale, centres
        self._made: dict[tuple[str, int | None], Marks] = {}
        self.numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
        self.integers = [i for i, column in enumerate(columns) if column.kind == "integer"]
        self.valued = self.numbers + self.integers
        self.register_buffer("values", torch.zeros(centres, len(self.valued)))
        self.register_buffer("codes", torch.zeros(centres, len(columns), dtype=torch.long))
        self.register_buffer("context", torch.zeros(centres, numeric))
        self.register_buffer("levels", torch.zeros(centres, len(cardinalities), dtype=torch.long))
        self.register_buffer("width", torch.ones(widths))
        self.register_buffer("leak", torch.full((widths,), 0.5))
        self.register_buffer("log_weight", torch.full((widths,), -math.log(widths)))
        self.register_buffer("context_width", torch.ones(()))
        self.code_bump = CodeBump([column.shares() for column in columns])
        self.level_bump = CodeBump([[1.0 / count] * count for count in cardinalities])

    @classmethod
    def from_config(cls, columns: Sequence[Column], config: Mapping[str, Any], **given: Any) -> KernelDensity:
        """The empty kernel density of `{"centres": .., "scale": .., "widths": ..}`, to load weights into."""
        return cls(columns, centres=config["centres"], scale=config["scale"], widths=config["widths"], **given)

    @property
    def config(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"centres": self.centres, "scale": self.scale, "widths": len(self.width)}

    def forward(self, inputs: Inputs, *, by_column: bool = False) -> KernelTerms:
        """log p of each record in the coordinates of `Inputs.x`, in all and, if asked for, by column."""
        parts = []
        for start in range(0, len(inputs), BLOCK):
            block = inputs.take(slice(start, start + BLOCK))
            parts.append(self._columns(block) if by_column else self._totals(block))
        if not parts:
            return self._columns(inputs) if by_column else self._totals(inputs)
        names = [field.name for field in fields(KernelTerms) if getattr(parts[0], field.name) is not None]
        return KernelTerms(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def values_of(self, inputs: Inputs) -> Tensor:
        """Numbers and integers on the scale of this density, `(n, m + j)`, 0 where there is no value."""
        if self.scale == "front" and not self.integers:
            values = inputs.x
        elif inputs.line is None:
            raise ValueError("records without `line` have no values on a straight scale")
        elif self.scale == "front":
            values = torch.cat((inputs.x, inputs.line[:, len(self.numbers) :]), -1)
        else:
            values = inputs.line
        return values * (inputs.codes[:, self.valued] == VALUE)

    # -- the bumps ---------------------------------------------------------------------------------------------------

    def given(self, inputs: Inputs, leave_out: Tensor | None = None) -> Tensor | None:
        """log weight of each width and centre by the context, `(s, n, N)`; None where there is neither context nor a
        centre to leave out (`leave_out` (n,): the place of each record among the centres, -1 if it is none)."""
        found: Tensor | None = None
        if self.context.shape[1]:
            found = (-square_distance(inputs.context, self.context) / (2 * self.context_width**2)).unsqueeze(0)
        if self.levels.shape[1]:
            alone, match = self.level_bump(inputs.levels, self._marks("levels"), self.leak)
            found = _plus(found, alone.unsqueeze(-1) if match is None else alone.unsqueeze(-1) + match)
        if leave_out is not None:
            apart = self.values.new_zeros(1, len(inputs), self.centres)
            own = torch.nonzero(leave_out >= 0).squeeze(-1)
            apart[0, own, leave_out[own]] = -math.inf
            found = _plus(found, apart)
        return None if found is None else found.expand(len(self.width), -1, self.centres)

    def code_parts(self, inputs: Inputs, only: int | None = None) -> tuple[Tensor, Tensor | None]:
        """log K of the codes, of all features or of one: of the record alone `(s, n)`, and by centre `(s, n, N)`."""
        return self.code_bump(inputs.codes, self._marks("codes", only), self.leak)

    def value_parts(
        self,
        values: Tensor,
        present: Tensor,
        places: Sequence[int],
        centres: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """log K of the values of some numbers and integers: of the record alone `(s, n)`, and by centre.

        By centre it is -distance / (2 width^2) of a squared distance `(n, N)`, and what centres without a value add
        `(s, n, N)`; None where there is nothing of it. Values that are not `present` `(n, m + j)` add nothing.
        `centres` are their `centre_values` at these places, where they are known already.
        Distances come from products of matrices, of the same shape whatever the records hold, so that a record's bits
        are its own.
        """
        if not places:
            return values.new_zeros(len(self.width), len(values)), None, None
        x, mask = values[:, places], present[:, places].to(values.dtype)
        centre, has = centres or self.centre_values(places)
        narrow = 1 / (2 * self.width**2)
        log_norm = self.log_norm()[:, places]
        distance = square_distance(x, centre)
        if bool((mask == 0).any()):
            # Where the record has no value its centre's counts for nothing; elsewhere 0 is taken off.
            distance = distance - product(1 - mask, centre**2)
        distance, extra = distance.clamp_(min=0), None
        gaps = torch.nonzero(has.amin(0) == 0).squeeze(-1).tolist()
        if gaps:
            astray = self._astray(values)[:, places][:, gaps]
            back = [
                mask[:, gaps] * (astray + log_norm[s, gaps] + x[:, gaps] ** 2 * narrow[s])
                for s in range(len(self.width))
            ]
            extra = torch.stack([product(each, 1 - has[:, gaps]) for each in back])
        return -(log_norm @ mask.T), distance, extra

    def centre_values(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Values of the centres `(N, places)`, 0 where there is none, and 1.0 where there is one."""
        has = self.codes[:, [self.valued[place] for place in places]] == VALUE
        return self.values[:, places] * has, has.to(self.values.dtype)

    def log_norm(self) -> Tensor:
        """log of what the bump of each valued feature sums to before it is divided by that, `(s, m + j)`."""
        columns = [self.width.log() + _HALF_LOG_TWO_PI] * len(self.numbers)
        columns += [log_lattice_sum(self.columns[i].spacing / self.width) for i in self.integers]
        return torch.stack(columns, -1) if columns else self.width.new_zeros(len(self.width), 0)

    def _astray(self, values: Tensor) -> Tensor:
        """log K of each value where the centre has none, `(n, m + j)`: standard normal, or that over the lattice."""
        m = len(self.numbers)
        parts = [log_normal(values[:, :m])]
        for place, i in enumerate(self.integers):
            column = self.columns[i]
            total = log_lattice_sum(values.new_tensor(column.spacing))
            parts.append((-0.5 * (values[:, m + place] - column.origin) ** 2 - total).unsqueeze(-1))
        return torch.cat(parts, -1)

    def _marks(self, of: str, only: int | None = None) -> Marks:
        """The centres' codes or levels as products need them, made once."""
        centres = self.codes if of == "codes" else self.levels
        if (of, only) not in self._made:
            features = range(centres.shape[1]) if only is None else [only]
            self._made[of, only] = Marks.of(centres, features, dtype=self.values.dtype)
        return self._made[of, only]

    def _apply(self, *args: Any, **given: Any) -> Any:
        self._made.clear()
        return super()._apply(*args, **given)

    def _load_from_state_dict(self, *args: Any, **given: Any) -> None:
        self._made.clear()
        super()._load_from_state_dict(*args, **given)

    # -- their sums --------------------------------------------------------------------------------------------------

    def _sum(self, alone: Tensor, by_centre: Tensor | None, distance: Tensor | None = None) -> Tensor:
        """log of the sum over widths and centres of their weights times the bumps, `(n,)`."""
        each = alone + torch.log_softmax(self.log_weight, 0)[:, None]
        if by_centre is not None:
            joined = by_centre if distance is None else by_centre + self._spread(distance)
            each = each + torch.logsumexp(joined, -1) - math.log(self.centres)
        elif distance is not None:
            each = each + log_sums(distance, self.width) - math.log(self.centres)
        return torch.logsumexp(each, 0)

    def _joined(self, by_centre: Tensor | None, distance: Tensor | None) -> Tensor | None:
        return by_centre if distance is None else _plus(by_centre, self._spread(distance))

    def _spread(self, distance: Tensor) -> Tensor:
        return -distance / (2 * self.width[:, None, None] ** 2)

    def totals(self, inputs: Inputs, *, leave_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log P(discrete part | context) and log p(values | discrete part, context) on this scale, `(n,)` each."""
        values, present = self.values_of(inputs), inputs.codes[:, self.valued] == VALUE
        start, alone, by_centre = self.beside(inputs, leave_out=leave_out)
        discrete = self._sum(alone, by_centre)
        own, distance, extra = self.value_parts(values, present, range(len(self.numbers)))
        whole = self._sum(alone + own, _plus(by_centre, extra), distance)
        return discrete - start, whole - discrete

    def beside(self, inputs: Inputs, *, leave_out: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """All but the numbers' values: log of the centres' weights given the context, `(n,)`, and log K of the discrete
        part, of the record alone `(s, n)` and by centre, the context's weights included, `(s, n, N)` or None."""
        values, present = self.values_of(inputs), inputs.codes[:, self.valued] == VALUE
        given = self.given(inputs, leave_out)
        start = self._sum(values.new_zeros(len(self.width), len(values)), given)
        alone, by_centre = self.code_parts(inputs)
        own, distance, extra = self.value_parts(values, present, range(len(self.numbers), len(self.valued)))
        return start, alone + own, self._joined(_plus(_plus(given, by_centre), extra), distance)

    def log_prob(self, inputs: Inputs, *, leave_out: Tensor | None = None) -> Tensor:
        """log p of each record in the coordinates of `Inputs.x`, `(n,)`, as if the centre it is were not there."""
        found = []
        for rows in torch.arange(len(inputs)).split(BLOCK):
            out = None if leave_out is None else leave_out[rows]
            log_mass, log_density = self.totals(inputs.take(rows), leave_out=out)
            found.append(log_mass + log_density)
        return torch.cat(found) + self.stretch(inputs).sum(-1)

    def _totals(self, inputs: Inputs) -> KernelTerms:
        log_mass, log_density = self.totals(inputs)
        return KernelTerms(log_mass, log_density + self.stretch(inputs).sum(-1))

    def _columns(self, inputs: Inputs) -> KernelTerms:
        """The same by column: each feature's discrete part given those before it, then each number's value."""
        values, present = self.values_of(inputs), inputs.codes[:, self.valued] == VALUE
        alone, by_centre = values.new_zeros(len(self.width), len(values)), self.given(inputs)
        before = self._sum(alone, by_centre)
        mass, density = values.new_zeros(inputs.codes.shape), values.new_zeros(inputs.codes.shape)
        for i in range(len(self.columns)):
            own, part = self.code_parts(inputs, only=i)
            alone, by_centre = alone + own, _plus(by_centre, part)
            if i in self.integers:
                own, distance, extra = self.value_parts(values, present, [self.valued.index(i)])
                alone, by_centre = alone + own, self._joined(_plus(by_centre, extra), distance)
            after = self._sum(alone, by_centre)
            mass[:, i], before = after - before, after
        stretch = self.stretch(inputs)
        for place, i in enumerate(self.numbers):
            own, distance, extra = self.value_parts(values, present, [place])
            alone, by_centre = alone + own, self._joined(_plus(by_centre, extra), distance)
            after = self._sum(alone, by_centre)
            density[:, i], before = after - before + stretch[:, place], after
        return KernelTerms(mass.sum(-1), density.sum(-1), mass, density)

    def stretch(self, inputs: Inputs) -> Tensor:
        """log |d scale / d x| of each number that is there, `(n, m)`: densities are stated in the coordinates of x."""
        present = (inputs.codes[:, self.numbers] == VALUE).to(inputs.x.dtype)
        if self.scale == "front" or inputs.log_stretch is None:
            return torch.zeros_like(present)
        return inputs.log_stretch * present


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
