"""HTLNet: one multi-task model for hybrid targets, trained in TensorFlow and served by TensorFlow Serving.

The names below are loaded on first use, so `import htlnet_tf` is instant, and the serving clients work where TensorFlow
cannot be imported. Importing the package makes `tf.keras` mean Keras 2 (see `htlnet_tf._keras`).

Reference:
  Tang, Qiao, Lyu, Liu, He: "Touch the Core: Exploring Task Dependence Among Hybrid Targets for Recommendation",
  RecSys 2024, arXiv:2403.17442.
"""

import lazy_loader

from htlnet_tf._keras import require_keras_2

__version__ = "0.1.0"

require_keras_2()

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "data",
        "encoding",
        "export",
        "gradients",
        "inspection",
        "judging",
        "layers",
        "models",
        "objectives",
        "plots",
        "runs",
        "schema",
        "scoring",
        "serving",
    ],
    submod_attrs={
        "checkpoints.callback": ["Checkpoints"],
        "runs.callbacks": ["GradientHistory", "KeepBest"],
        "errors": ["InputError", "NonFiniteError"],
        "judging.evaluation": ["Report", "evaluate"],
        "gradients": [
            "AlignedMTL",
            "CAGrad",
            "GradientAdjustment",
            "GradientSum",
            "IMTLG",
            "MGDA",
            "MetaBalance",
            "NashMTL",
            "PCGrad",
        ],
        "encoding.encoder": ["FeatureEncoder"],
        "layers.uncertainty_weights": ["UncertaintyWeights"],
        "models.adatt": ["AdaTT"],
        "models.aitm": ["AITM"],
        "models.ensemble": ["Ensemble"],
        "models.esmm": ["ESMM"],
        "models.htlnet": ["HTLNet"],
        "models.mmoe": ["MMoE"],
        "models.ple": ["PLE"],
        "models.shared_bottom": ["SharedBottom"],
        "models.single_task": ["SingleTask"],
        "optimizers": ["LazyAdam"],
        "scoring.calibration": ["Calibration", "CalibrationSettings"],
        "scoring.calibration.fitting": ["calibrate"],
        "scoring.exceedance": ["exceedance"],
        "scoring.prediction": ["predict"],
        "scoring.rank": ["rank"],
        "runs.drift": ["drift"],
        "runs.gate": ["gate"],
        "runs.folder": ["load_run", "save_run"],
        "runs.update.settings": ["UpdateConfig"],
        "runs.update.updating": ["update"],
        "schema.features": ["Categorical", "Cross", "Numeric", "Sequence", "Timestamp"],
        "schema.history": ["CountEncoding", "HistoryStatistics", "TargetEncoding"],
        "schema.ranking": ["Ranking"],
        "schema.schema": ["Schema"],
        "sharding": ["TablePartitioner"],
        "serving.local": ["score_files"],
        "serving.part_making": ["ScoredFiles"],
        "serving.ranked_files": ["rank_files"],
        "shadow_comparison": ["compare_logs"],
        "schema.targets": ["Binary", "Continuous", "Multiclass"],
    },
)

del lazy_loader, require_keras_2
