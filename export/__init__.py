"""A trained model -> a versioned, verified servable."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gate": ["gate_version"],
        "onnx.publish": ["export_onnx"],
        "promotion": ["Promotion", "promote", "rollback"],
        "publish": ["ExportedVersion", "export_model", "model_directory"],
        "servable": ["Servable"],
        "verify": ["VerificationError", "VerificationReport"],
        "versions": ["VersionInfo", "list_versions"],
    },
)

del lazy_loader
