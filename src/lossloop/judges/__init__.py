"""Judges: losses in, verdict out, valid however often anyone looks (shared/statistics.md). Pure."""

from lossloop.judges.absolute import Certificate, Guardrail, Regression, RiskState
from lossloop.judges.audited import Audited, Audits, AuditState
from lossloop.judges.base import Sketch, e_value
from lossloop.judges.blocks import BlockMeans, block_interval, block_means, fill_missing
from lossloop.judges.comparison import Comparison, Difference
from lossloop.judges.delay import Delays, Gap, Recommendation, gap, recommend
from lossloop.judges.domain import Domain
from lossloop.judges.drift import Averages, BlockDrift, Drift, DriftState
from lossloop.judges.ebh import e_bh
from lossloop.judges.engine import Engine, Wealth
from lossloop.judges.estimated import (
    Estimated,
    calibration,
    direct,
    direct_loss,
    expected_loss,
    probabilities,
)
from lossloop.judges.intervals import asymptotic_interval, betting_interval
from lossloop.judges.moments import Moments
from lossloop.judges.paired import Pairs, Shadow
from lossloop.judges.profile import profile_of
from lossloop.judges.promise import Counts, Mode, Promise, parse
from lossloop.judges.randomised import Assigned, Canary, CanaryState
from lossloop.judges.reference import (
    Reference,
    design_effect,
    needed_for,
    reference_of,
    reference_of_blocks,
    refuse_per_row,
)
from lossloop.judges.seasonal import Seasonal, SeasonalGuardrail
from lossloop.judges.shares import Share
from lossloop.judges.skill import Skill
from lossloop.judges.sliced import SliceLosses, SliceState
from lossloop.judges.slicereferences import bound_of_blocks, bound_of_rows, slice_references
from lossloop.judges.slices import SliceFinding, Slices
from lossloop.judges.streams import Columns, Streams
from lossloop.judges.thresholds import LearnedThresholds, held_out_actions, learn_thresholds

__all__ = [
    "Assigned",
    "AuditState",
    "Audited",
    "Audits",
    "Averages",
    "BlockDrift",
    "BlockMeans",
    "Canary",
    "CanaryState",
    "Certificate",
    "Columns",
    "Comparison",
    "Counts",
    "Delays",
    "Difference",
    "Domain",
    "Drift",
    "DriftState",
    "Engine",
    "Estimated",
    "Gap",
    "Guardrail",
    "LearnedThresholds",
    "Mode",
    "Moments",
    "Pairs",
    "Promise",
    "Recommendation",
    "Reference",
    "Regression",
    "RiskState",
    "Seasonal",
    "SeasonalGuardrail",
    "Shadow",
    "Share",
    "Sketch",
    "Skill",
    "SliceFinding",
    "SliceLosses",
    "SliceState",
    "Slices",
    "Streams",
    "Wealth",
    "asymptotic_interval",
    "betting_interval",
    "block_interval",
    "block_means",
    "bound_of_blocks",
    "bound_of_rows",
    "calibration",
    "design_effect",
    "direct",
    "direct_loss",
    "e_bh",
    "e_value",
    "expected_loss",
    "fill_missing",
    "gap",
    "held_out_actions",
    "learn_thresholds",
    "needed_for",
    "parse",
    "probabilities",
    "profile_of",
    "recommend",
    "reference_of",
    "reference_of_blocks",
    "refuse_per_row",
    "slice_references",
]
