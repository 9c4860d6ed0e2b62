"""Models, versions, aliases and artifacts."""

from lossloop.registry.approval import Approval
from lossloop.registry.artifacts import Artifacts
from lossloop.registry.manifest import Feature, FeatureKind, Manifest, Reference, Version
from lossloop.registry.options import Options
from lossloop.registry.transform import By, Transform
from lossloop.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Move

__all__ = [
    "CHALLENGER", "CHAMPION", "PREVIOUS", "Approval", "Artifacts", "By", "Feature", "FeatureKind",
    "Manifest", "Move", "Options", "Reference", "Transform", "Version",
]  # fmt: skip
