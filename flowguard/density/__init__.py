"""Exact conditional densities: bijections, flows, and the density of a record. torch only."""

from __future__ import annotations

from flowguard.density.autoregressive import Autoregressive
from flowguard.density.bijection import Bijection, Chain
from flowguard.density.blurred import Blurred, fit_blurred
from flowguard.density.capacity import Capacity, capacity
from flowguard.density.column import Column
from flowguard.density.continuous import Continuous, StepError, continuous, step_error
from flowguard.density.coupling import Coupling
from flowguard.density.discrete import DiscretePart
from flowguard.density.embedding import ContextEmbedding
from flowguard.density.ensemble import Ensemble, maf_ensemble
from flowguard.density.experts import Experts, ExpertTerms
from flowguard.density.flow import Flow
from flowguard.density.gaussian import LinearGaussian, gaussian
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import KernelDensity
from flowguard.density.kernel_fit import fit_kernel
from flowguard.density.maf import maf
from flowguard.density.mixing import Mixing
from flowguard.density.noise import NoiseLevel
from flowguard.density.realnvp import realnvp
from flowguard.density.record import RecordDensity, RecordTerms

__all__ = [
    "Autoregressive",
    "Bijection",
    "Blurred",
    "Capacity",
    "Chain",
    "Column",
    "ContextEmbedding",
    "Continuous",
    "Coupling",
    "DiscretePart",
    "Ensemble",
    "ExpertTerms",
    "Experts",
    "Flow",
    "Inputs",
    "KernelDensity",
    "LinearGaussian",
    "Mixing",
    "NoiseLevel",
    "RecordDensity",
    "RecordTerms",
    "StepError",
    "capacity",
    "continuous",
    "fit_blurred",
    "fit_kernel",
    "gaussian",
    "maf",
    "maf_ensemble",
    "realnvp",
    "step_error",
]
